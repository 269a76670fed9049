"""The kernels of the C++ files here, compiled once for this processor and kept in the cache.

There is no Python header, no torch header and no build tool involved: a C++ compiler turns the files into one library in
a few seconds, and ctypes calls it. OpenMP is the one torch has loaded already (same library name), so both share one
pool of threads. Without a compiler, or with TUNESMITH_KERNELS=off, the engine computes the same with plain torch.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunesmith.assets import cache_dir

SOURCES = tuple(
    Path(__file__).with_name(name)
    for name in ("elementwise.cpp", "attention.cpp", "decoding.cpp", "adamw.cpp", "products.cpp", "low_rank.cpp")
)
HEADER = Path(__file__).with_name("numbers.h")
FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-std=c++17",
    "-shared",
    "-fPIC",
)
COMPILE_SECONDS = 120
"""A compiler that takes longer is given up."""
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}

_is_off: ContextVar[bool] = ContextVar("_is_off", default=False)


@contextmanager
def plain_torch() -> Iterator[None]:
    """Within the block no native kernel runs (for tests and comparisons)."""
    before = _is_off.set(True)
    try:
        yield
    finally:
        _is_off.reset(before)


def is_off() -> bool:
    """Inside `plain_torch`."""
    return _is_off.get()


def usable(*tensors: Tensor) -> bool:
    """The native kernels can take these: all on the CPU, of one supported type, contiguous."""
    first = tensors[0].dtype
    if _is_off.get() or first not in TYPES or library().handle is None:
        return False
    return all(t.device.type == "cpu" and t.dtype == first and t.is_contiguous() for t in tensors)


def call(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    """Run a kernel on tensors (their addresses), integers and floats; None is a null pointer."""
    function = getattr(library().handle, f"{name}_{TYPES[dtype]}")
    function(*(_as_c(argument) for argument in (*arguments, torch.get_num_threads())))


def plain(name: str, dtype: torch.dtype, arguments: str) -> Callable[..., None]:
    """A kernel that takes plain numbers, at a fifth of what `call` costs: "a" an address (0 for null), "i" an integer, "f" a float.

    Call only when `usable` says so. The number of threads is one of the arguments.
    """
    function = getattr(library().handle, f"{name}_{TYPES[dtype]}")
    if function.argtypes is None:
        function.argtypes = [_C_TYPES[kind] for kind in arguments]
    return function  # type: ignore[no-any-return]


_C_TYPES = {"a": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}


def _as_c(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return ctypes.c_void_p(None) if argument is None else ctypes.c_int64(argument)


class Library:
    """The loaded library, or why there is none."""

    def __init__(self, handle: ctypes.CDLL | None, reason: str = "") -> None:
        self.handle = handle
        self.reason = reason


def kind_of_kernels() -> str:
    """In words, for the record of a run: results are bit for bit the same only on the same kind."""
    return "plain torch" if library().handle is None else "native"


@cache
def library() -> Library:
    """Compile where needed, and load."""
    if os.environ.get("TUNESMITH_KERNELS", "").lower() == "off":
        return Library(None, "switched off by TUNESMITH_KERNELS=off")
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if sys.platform == "win32" or not compiler:
        return Library(None, "no C++ compiler (g++ or clang++)")
    file = _library_file(compiler)
    try:
        if not file.exists():
            _compile(compiler, file)
        return Library(_loaded(compiler, file))
    except (OSError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return Library(None, f"{compiler} could not build the kernels ({detail[0] if detail else type(error).__name__})")


def _loaded(compiler: str, file: Path) -> ctypes.CDLL:
    """A file that cannot be loaded, cut short by a full disk perhaps, is compiled once more."""
    try:
        return ctypes.CDLL(str(file))
    except OSError:
        _compile(compiler, file)
        return ctypes.CDLL(str(file))


def _library_file(compiler: str) -> Path:
    """Another source, processor or compiler is another file."""
    described = (
        *(file.read_text(encoding="utf-8") for file in (*SOURCES, HEADER)),
        " ".join(FLAGS),
        _processor(),
        compiler,
        platform.platform(),
    )
    digest = hashlib.sha256("\0".join(described).encode()).hexdigest()[:16]
    return cache_dir() / "kernels" / f"native-{digest}.so"


def _processor() -> str:
    """What `-march=native` depends on."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    return "".join(next((line for line in lines if line.startswith(key)), "") for key in ("model name", "flags", "Features"))


def _compile(compiler: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".staging-") as folder:  # processes may be at it at the same time
        staging = Path(folder) / file.name
        command = [*shlex.split(compiler), *FLAGS, *map(str, SOURCES), "-o", str(staging)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)  # noqa: S603 - the user's compiler
        staging.replace(file)
