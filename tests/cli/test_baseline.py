"""`tunesmith baseline` on a tiny run and on a data set before any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chat.endpoint import Endpoint, serving
from tests.cli.conftest import Tunesmith, Workspace

SHORT = ("--split", "train", "--limit", "4", "--max-new-tokens", "16")


def right_answer(text: str) -> str:
    """What the data set teaches."""
    number = int(text.rsplit(maxsplit=1)[-1].rstrip("?"))
    return f"{number} is {('red', 'green', 'blue')[number % 3]}."


def test_every_way_beside_each_other(workspace: Workspace, tunesmith: Tunesmith) -> None:
    endpoint = Endpoint(right_answer)
    with serving(endpoint):
        there = ("--endpoint", endpoint.url, "--endpoint-model", "large", "--price-prompt", "2", "--price-completion", "8")
        result = tunesmith(
            "baseline",
            workspace.run,
            *SHORT,
            "--limit",
            "16",
            *there,
            "--instructions",
            "Be brief and friendly, please.",
            "--machine-hourly",
            "0.1",
            "--json",
        )
    assert result.code == 0, result.stderr
    report = result.document
    names = ["zero-shot", "own prompt", "few-shot", "retrieval", "tuned", "tuned + retrieval", "endpoint"]
    assert [way["name"] for way in report["results"]] == names
    assert (report["decision"]["best"], report["decision"]["take"]) == ("endpoint", "endpoint")
    last = report["results"][-1]
    assert last["scores"][report["metric"]["name"]]["value"] == pytest.approx(1.0)
    assert last["cost"] == {"a_month": 0.0, "a_request": pytest.approx((50 * 2 + 20 * 8) / 1e6), "most_requests": None}
    assert not last["data_leaves"]  # it is on this machine
    assert all(way["latency_seconds"] > 0 for way in report["results"])
    shown = {len(request["messages"]) for request in endpoint.requests}
    assert shown == {2}  # the user's instructions and the question
    by_name = {way["name"]: way for way in report["results"]}
    assert by_name["few-shot"]["prompt_tokens"] > by_name["own prompt"]["prompt_tokens"] > by_name["zero-shot"]["prompt_tokens"]
    directory = Path(report["directory"])
    lines = [json.loads(line) for line in (directory / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [sorted(line["answers"]) for line in lines] == [sorted(names)] * 16
    assert "own prompt" in (directory / "baseline.html").read_text(encoding="utf-8")


def test_failures_of_the_endpoint_are_missing_and_paid_answers_are_kept(workspace: Workspace, tunesmith: Tunesmith) -> None:
    endpoint = Endpoint(right_answer, faults={"cut": 0.4})
    with serving(endpoint):
        words = ("baseline", workspace.run, *SHORT, "--shots", "0", "--endpoint", endpoint.url, "--endpoint-model", "large", "--json")
        first = tunesmith(*words)
        assert first.code == 0, first.stderr
        way = first.document["results"][-1]
        assert way["num_missing"] + way["num_answers"] == 4
        assert way["scores"][first.document["metric"]["name"]]["value"] == pytest.approx(1.0)  # a missing answer is no zero
        asked = len(endpoint.requests)
        again = tunesmith(*words)
        assert again.document["results"][-1]["num_missing"] <= way["num_missing"]
        assert len(endpoint.requests) - asked <= 4 + way["num_missing"]  # latencies, and what failed


def test_before_any_training(workspace: Workspace, tiny_llama: Path, tunesmith: Tunesmith, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "colours.md").write_text(
        "# Colours\n\nEvery third number is red, the next one green, and then comes blue.\n", encoding="utf-8"
    )
    result = tunesmith("baseline", workspace.data, "--model", tiny_llama, *SHORT, "--documents", tmp_path / "docs", "--pick-shots", "same")
    assert result.code == 0, result.stderr
    assert "Take `" in result.stdout
    assert "endpoint" not in result.stdout
    assert "nothing leaves this machine" in result.stdout
    assert len(list(Path().glob("baseline-prepared-*/baseline.json"))) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "RUN is missing"),
        (("nowhere", "--model", "x"), "there is no such directory"),
        (("DATA",), "--model is missing"),
        (("RUN", "--model", "x"), "a run has its base model"),
        (("RUN", "--endpoint", "http://localhost:1/v1"), "--endpoint-model is not given"),
        (("RUN", "--documents", "nowhere"), "nowhere"),
        (("RUN", "--scorer", "beauty"), "beauty"),
    ],
)
def test_mistakes_are_said_before_any_model_answers(words: tuple[str, ...], said: str, workspace: Workspace, tunesmith: Tunesmith) -> None:
    places = {"RUN": workspace.run, "DATA": workspace.data}
    result = tunesmith("baseline", *(places.get(word, word) for word in words))
    assert result.code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
