"""The named models and their terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TUNESMITH_ACCEPT_TERMS", raising=False)
    return tmp_path / "cache"


def test_list(tunesmith: Tunesmith) -> None:
    result = tunesmith("models")
    assert result.code == 0
    lines = result.stdout.splitlines()
    assert lines[1].startswith("smollm2-135m-instruct  chat")
    assert "Apache-2.0" in lines[1]
    assert "terms not accepted" in lines[2]
    assert "next: tunesmith models accept gemma3-270m" in result.stderr
    assert tunesmith("models", "list").stdout == result.stdout
    models = tunesmith("models", "--json").document["models"]
    assert [model["name"] for model in models] == ["smollm2-135m-instruct", "gemma3-270m"]
    assert [model["disk_bytes"] for model in models] == [None, None]


def test_accept(tunesmith: Tunesmith, cache: Path) -> None:
    refused = tunesmith("models", "accept", "gemma3-270m")
    assert refused.code == 2
    assert "ai.google.dev/gemma/terms" in refused.stderr
    assert "--yes" in refused.stderr
    assert not cache.exists()
    assert tunesmith("models", "accept", "gemma3-270m", "--yes").stdout == "gemma3-270m: terms accepted\n"
    assert [model["terms_accepted"] for model in tunesmith("models", "--json").document["models"]] == [True, True]


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("", 130)])
def test_asked_in_a_terminal(answer: str, code: int, tunesmith: Tunesmith, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    result = tunesmith("models", "accept", "gemma3-270m")
    assert result.code == code
    assert "Do you accept these terms?" in result.stderr
    assert (cache / "terms" / "gemma3-270m.json").is_file() == (code == 0)


def test_nothing_to_accept(tunesmith: Tunesmith) -> None:
    assert tunesmith("models", "accept", "smollm2-135m-instruct").stdout == "smollm2-135m-instruct: nothing has to be accepted\n"
