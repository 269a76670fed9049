"""A command line in this process, and one small run that many tests look at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.main import main

COLOURS = ("red", "green", "blue")
ROWS = [{"question": f"What is {number}?", "answer": f"{number} is {COLOURS[number % 3]}."} for number in range(40)]


@dataclass(frozen=True)
class Result:
    """What a command line left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.stdout)


Tunesmith = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two layers of 48 numbers are computed by one thread faster than by several that wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tunesmith(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tunesmith:
    """Run a command line in an empty directory; words are given as they are typed."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Workspace:
    """A prepared data set and a run on it, made once through the command line."""

    data: Path
    run: Path


@pytest.fixture(scope="session")
def finished(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Not to be changed: `workspace` is a copy."""
    directory = tmp_path_factory.mktemp("finished")
    rows = write_rows(directory / "faq.jsonl", ROWS)
    data, runs = directory / "prepared", directory / "runs"
    assert main(["prepare", str(rows), "--out", str(data)]) == 0
    train = ["train", str(data), "--model", str(tiny_llama), "--name", "faq", "--runs-dir", str(runs)]
    assert main([*train, "--max-steps", "4", "--evaluate-every", "2"]) == 0
    return Workspace(data=data, run=runs / "faq")


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A run of one's own; its record names the shared data set."""
    shutil.copytree(finished.run, tmp_path / "runs" / "faq")
    shutil.copytree(finished.data, tmp_path / "prepared")
    return Workspace(data=tmp_path / "prepared", run=tmp_path / "runs" / "faq")


def interrupt(run: Path) -> None:
    """Leave a run as a kill after its first checkpoint does."""
    (run / "manifest.json").unlink()
    shutil.rmtree(run / "model")
    for checkpoint in sorted((run / "checkpoints").iterdir())[1:]:
        shutil.rmtree(checkpoint)
