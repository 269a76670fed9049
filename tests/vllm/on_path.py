"""Putting a program called `vllm` first on PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, *, starts_with: str = "") -> None:
    """The stand-in; `starts_with` is Python that runs before anything is imported."""
    folder.mkdir(exist_ok=True)
    program = folder / "vllm"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{starts_with}\n"
        "from tests.vllm.stand_in import main\nmain()\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
