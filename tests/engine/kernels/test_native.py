"""Compiling: once, by whoever comes first; without a compiler plain torch, and why."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tunesmith.engine.kernels import gated, native

QUICK = ("-O0", "-fopenmp", "-std=c++17", "-shared", "-fPIC")
"""Flags that compile in a second or two."""


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, no library loaded yet; afterwards the one for everybody else is looked up again."""
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TUNESMITH_KERNELS", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    native.library.cache_clear()
    yield tmp_path / "cache" / "kernels"
    native.library.cache_clear()


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def assert_plain_torch_runs(reason: str) -> None:
    assert native.library().handle is None
    assert reason in native.library().reason
    x = torch.randn(3, 8)
    assert not native.usable(x)
    torch.testing.assert_close(gated(x, "silu"), torch.nn.functional.silu(x[:, :4]) * x[:, 4:])


def test_switched_off(monkeypatch: pytest.MonkeyPatch, fresh: Path) -> None:
    monkeypatch.setenv("TUNESMITH_KERNELS", "OFF")
    assert_plain_torch_runs("TUNESMITH_KERNELS=off")
    assert not fresh.exists()


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert_plain_torch_runs("no C++ compiler")


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: Path) -> None:
    failing = script(tmp_path / "bin", "failing", "echo 'elementwise.cpp:1: no such luck' >&2\necho more >&2\nexit 1")
    monkeypatch.setenv("CXX", str(failing))
    assert_plain_torch_runs("(elementwise.cpp:1: no such luck)")
    assert list(fresh.iterdir()) == []


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert_plain_torch_runs("/nowhere/c++ could not build the kernels")


def test_a_compiler_that_takes_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "COMPILE_SECONDS", 0.2)
    monkeypatch.setenv("CXX", str(script(tmp_path / "bin", "slow", "exec sleep 5")))
    assert_plain_torch_runs("timed out")


def test_what_the_compiler_made_is_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says so instead of crashing."""
    liar = script(tmp_path / "bin", "liar", 'for last; do :; done\necho nonsense > "$last"')
    monkeypatch.setenv("CXX", str(liar))
    assert_plain_torch_runs("could not build the kernels")


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "file"))
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler")
    assert_plain_torch_runs("could not build the kernels")


def test_compiled_once_and_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: Path) -> None:
    """With a compiler that has an argument, as in CXX="ccache g++"."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("no C++ compiler")
    counted = script(tmp_path / "bin", "counted", f'echo once >> "{tmp_path}/count"\nexec "$@"')
    monkeypatch.setenv("CXX", f"{counted} {compiler}")
    monkeypatch.setattr(native, "FLAGS", QUICK)
    for _ in range(2):
        native.library.cache_clear()
        assert native.library().handle is not None, native.library().reason
    assert (tmp_path / "count").read_text(encoding="utf-8") == "once\n"
    assert len(list(fresh.iterdir())) == 1


def test_the_file_is_named_by_what_makes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = native._library_file("g++")
    assert before == native._library_file("g++")
    assert before != native._library_file("clang++")
    changed = tmp_path / "numbers.h"
    changed.write_text(native.HEADER.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(native, "HEADER", changed)
        assert native._library_file("g++") != before
    with monkeypatch.context() as patch:
        patch.setattr(native, "FLAGS", QUICK)
        assert native._library_file("g++") != before
    monkeypatch.setattr(native, "_processor", lambda: "another")
    assert native._library_file("g++") != before


COMPILE = f"""
import sys
from pathlib import Path
from tunesmith.engine.kernels import native
native.FLAGS = {QUICK!r}
assert native.library().handle is not None, native.library().reason
"""


def test_two_processes_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: Path) -> None:
    """Both compile (the compiler waits for the other to begin), each into a place of its own, and both load a whole library."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("no C++ compiler")
    meet = f'touch "{tmp_path}/began-$$"\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do\n'
    meet += f'  [ $(ls "{tmp_path}" | grep -c began-) -ge 2 ] && exec "$@"\n  sleep 0.5\ndone\nexit 3'
    monkeypatch.setenv("CXX", f"{script(tmp_path / 'bin', 'meet', meet)} {compiler}")
    processes = [subprocess.Popen([sys.executable, "-c", COMPILE], env=dict(os.environ), stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len(list(tmp_path.glob("began-*"))) == 2
    assert [file.suffix for file in fresh.iterdir()] == [".so"]
