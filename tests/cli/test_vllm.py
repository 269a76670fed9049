"""`--engine vllm` as it is typed: every way it can refuse is one paragraph, and nothing has started by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith, Workspace


@pytest.mark.parametrize("verb", ["evaluate", "benchmark"])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--engine", "vllm", "--processes", "2"], "--engine vllm: --processes 2 with it; expected one process"),
        (["--vllm-options", "--seed 1"], "--vllm-options: no --engine vllm; expected both, or neither"),
    ],
)
def test_what_does_not_go_together(tunesmith: Tunesmith, finished: Workspace, verb: str, words: list[str], found: str) -> None:
    tasks = ["--tasks", "gsm8k"] if verb == "benchmark" else []
    result = tunesmith(verb, finished.run, *tasks, *words)
    assert (result.code, result.stdout) == (2, "")
    assert found in " ".join(result.stderr.split())


def test_without_vllm(tunesmith: Tunesmith, finished: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = tunesmith("evaluate", finished.run, "--engine", "vllm")
    assert (result.code, result.stdout) == (2, "")
    told = " ".join(result.stderr.split())
    assert "--engine vllm: vLLM is not installed: there is no program `vllm` on PATH; expected" in told
    assert "install it with `pip install vllm`" in told
