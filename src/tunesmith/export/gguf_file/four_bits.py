"""GGUF in four bits, by llama.cpp's own tool `llama-quantize`, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tunesmith.errors import AssetError, ConfigError

TOOL = "llama-quantize"
KINDS = ("q4_0", "q4_k_m")
NOT_STARTED = (126, 127)
"""Exit codes of a program that cannot be run, or that lacks a library."""


def require_tool() -> str:
    """The tool's path; it is started once to see that it can be, before minutes are spent on what it is to be given.

    Raises:
        ConfigError: it is not installed, or does not start.
    """
    found = shutil.which(TOOL)
    if found is None:
        raise ConfigError(
            "export --type",
            f"{TOOL} is not installed",
            expected="llama.cpp's tool on the PATH, which alone makes four bits",
            remedy="install llama.cpp (https://github.com/ggml-org/llama.cpp), or choose --type q8_0",
        )
    try:
        done = subprocess.run([found, "--help"], capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    except OSError as error:
        raise _does_not_start(found, str(error)) from None
    if done.returncode in NOT_STARTED:
        raise _does_not_start(found, _last_words(done))
    return found


def _does_not_start(tool: str, words: str) -> ConfigError:
    expected, remedy = "llama.cpp's tool, with its libraries", "install llama.cpp anew, or choose --type q8_0"
    return ConfigError("export --type", f"{tool} does not start ({words})", expected=expected, remedy=remedy)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    return next((line.strip() for line in reversed((done.stderr + done.stdout).splitlines()) if line.strip()), "it says nothing")


def quantize_file(tool: str, source: Path, target: Path, kind: str) -> None:
    """Write `target` from a file in f16.

    Raises:
        AssetError: the tool failed.
    """
    command = [tool, str(source), str(target), kind.upper()]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode or not target.is_file():
        expected, remedy = "a file in four bits", "choose --type q8_0, or update llama.cpp"
        raise AssetError(str(source), f"{TOOL} failed ({_last_words(done)})", expected=expected, remedy=remedy)
