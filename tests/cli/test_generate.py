"""Decoding options of `tunesmith generate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith, Workspace

QUESTION = "What is 7?"
OPTIONS = ["--max-new-tokens", "12", "--dtype", "float32"]


def test_an_answer_ends_before_a_stop_string(tunesmith: Tunesmith, workspace: Workspace) -> None:
    whole = tunesmith("generate", workspace.run, QUESTION, *OPTIONS, "--json").document["completion"]
    stop = whole[len(whole) // 2 :][:3]
    cut = tunesmith("generate", workspace.run, QUESTION, *OPTIONS, "--stop", "never there", "--stop", stop, "--json").document
    assert cut["completion"] == whole.split(stop)[0]
    assert cut["finish_reason"] == "stop_string"
    assert tunesmith("generate", workspace.run, QUESTION, *OPTIONS, "--stop", stop).stdout == whole.split(stop)[0] + "\n"


def test_logprobs_come_with_the_tokens(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    one = tunesmith("generate", workspace.run, QUESTION, *OPTIONS, "--logprobs", "2", "--json").document
    assert len(one["logprobs"]) == one["num_tokens"]
    for token in one["logprobs"]:
        assert token["logprob"] <= 0
        assert [token["token"], token["logprob"]] == [token["top"][0]["token"], token["top"][0]["logprob"]], "greedy"
        assert len(token["top"]) == 2
    text = "".join(token["token"] for token in one["logprobs"])
    assert text.startswith(one["completion"])

    (tmp_path / "questions.txt").write_text(f"{QUESTION}\nWhat is 2?\n", encoding="utf-8")
    result = tunesmith("generate", workspace.run, "--file", "questions.txt", *OPTIONS, "--logprobs", "0")
    assert result.code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [token["token"] for token in json.loads(lines[0])["logprobs"]] == [token["token"] for token in one["logprobs"]]
    assert json.loads(lines[0])["logprobs"][0]["top"] == []
    without = tunesmith("generate", workspace.run, QUESTION, *OPTIONS, "--json").document
    assert "logprobs" not in without


def test_sampling_options_reach_the_sampler(tunesmith: Tunesmith, workspace: Workspace) -> None:
    def answer(*words: str) -> str:
        document = tunesmith("generate", workspace.run, QUESTION, *OPTIONS, *words, "--json").document
        return str(document["completion"])

    greedy, drawn = answer(), answer("--temperature", "1.5")
    assert drawn not in {greedy, answer("--temperature", "1.5", "--seed", "1")}
    assert answer("--temperature", "1.5", "--min-p", "0.999999") == greedy
    assert answer("--temperature", "1.5", "--top-k", "1") == greedy
    assert answer("--repetition-penalty", "2") != greedy


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--logprobs", "2"], "--logprobs without --json"),
        (["--logprobs", "21", "--json"], "logprobs is 21"),
        (["--min-p", "1"], "min_p is 1"),
        (["--repetition-penalty", "0"], "repetition_penalty is 0"),
        (["--stop", ""], "stop is"),
    ],
)
def test_what_is_out_of_range_is_refused(tunesmith: Tunesmith, words: list[str], found: str) -> None:
    result = tunesmith("generate", "m", QUESTION, *words)
    assert result.code == 2
    assert found in " ".join(result.stderr.split())
