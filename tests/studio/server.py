"""The studio in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Running:
    """A studio that answers."""

    address: str
    first_page: str
    token: str | None


@contextmanager
def studio(runs: Path, data: Path, *, cwd: Path, words: tuple[str, ...] = ()) -> Iterator[Running]:
    """Start `tunesmith studio` on a free port; it is stopped with the block."""
    command = [sys.executable, "-m", "tunesmith", "studio", "--runs", str(runs), "--data", str(data), "--port", "0", "--json", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (cwd / "studio.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=log)
    try:
        yield Running(**_announced(process, cwd / "studio.log"))
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _announced(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """The document that it prints once the port is open."""
    assert process.stdout is not None
    printed = b""
    for line in process.stdout:
        printed += line
        if line.rstrip() == b"}":
            return dict(json.loads(printed))
    raise AssertionError(f"the studio did not start: {log.read_text(encoding='utf-8')}")
