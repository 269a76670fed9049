"""GGUF in four bits, by llama.cpp's own tool `llama-quantize`, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tunesmith.errors import AssetError, ConfigError

TOOL = "llama-quantize"
KINDS = ("q4_0", "q4_k_m")


def require_tool() -> str:
    """The tool's path.

    Raises:
        ConfigError: it is not installed.
    """
    found = shutil.which(TOOL)
    if found is None:
        raise ConfigError(
            "export --type",
            f"{TOOL} is not installed",
            expected="llama.cpp's tool on the PATH, which alone makes four bits",
            remedy="install llama.cpp (https://github.com/ggml-org/llama.cpp), or choose --type q8_0",
        )
    return found


def quantize_file(tool: str, source: Path, target: Path, kind: str) -> None:
    """Write `target` from a file in f16.

    Raises:
        AssetError: the tool failed.
    """
    done = subprocess.run([tool, str(source), str(target), kind.upper()], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode or not target.is_file():
        words = next((line.strip() for line in reversed((done.stderr + done.stdout).splitlines()) if line.strip()), "it says nothing")
        raise AssetError(
            str(source), f"{TOOL} failed ({words})", expected="a file in four bits", remedy="choose --type q8_0, or update llama.cpp"
        )
