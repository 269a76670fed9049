"""Scorers on the command line: named, weighed, one's own, and refused before a model is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith
from tests.cli.test_loop import Workspace, succeed
from tunesmith.api import Evaluation
from tunesmith.evaluate.records import read_records
from tunesmith.evaluate.report import EvaluationReport

OWN = "def polite(completion, reference, prompt):\n    return float('please' in completion), 'asks nicely'\n"


def test_scorers_that_are_named_decide_and_are_explained(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(OWN, encoding="utf-8")
    named = [
        "--scorer",
        "chrf",
        "--scorer",
        f"{own}:polite",
        "--scorer",
        "regex:[aeiou]=?",
        "--weight",
        "chrf=3",
        "--weight",
        f"{own}:polite=1",
    ]
    words = ["evaluate", workspace.run, "--max-new-tokens", "4", "--split", "train", "--limit", "5", *named]
    document = succeed(tunesmith(*words, "--json")).document
    names = [one["metric"]["name"] for one in document["comparisons"]]
    assert names == ["loss", "score", "chrf", f"{own}:polite", "regex:[aeiou]=?"]
    assert document["deciding"] == ["loss", "score"]
    assert document["settings"]["scorers"] == names[2:]

    evaluation = workspace.run / "evaluation"
    records = tuple(read_records(evaluation / "records.jsonl"))
    for answer in (one for record in records for one in record.answers.values()):
        assert answer.explanations[f"{own}:polite"] == "asks nicely"
        assert abs(answer.scores["score"] - (3 * answer.scores["chrf"] / 100 + answer.scores[f"{own}:polite"]) / 4) < 1e-9
    assert (evaluation / "report.md").read_text(encoding="utf-8").startswith("## Evaluation\n")

    del document["html"]
    report = EvaluationReport.from_json(document)
    frame = Evaluation(report=report, records=records, html=evaluation / "report.html").to_dataframe()
    assert len(frame) == 5
    assert list(frame["tuned_chrf"]) == [record.tuned.scores["chrf"] for record in records]
    assert list(frame["base_answer"]) == [record.base.completion for record in records]

    succeed(tunesmith("analyze", workspace.run, "--embeddings", "words"))
    assert "### Known failures" in (evaluation / "report.md").read_text(encoding="utf-8")


def test_mistakes_are_said_before_a_model_is_asked(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def broken(completion, reference, prompt):\n    return 1 / 0\n", encoding="utf-8")
    for options, message in (
        (["--scorer", "rogue"], "there is no scorer 'rogue'"),
        (["--weight", "chrf"], "expected NAME=X"),
        (["--weight", "chrf=-1"], "weights must be above 0"),
        (["--scorer", "regex:("], "no regular expression"),
        (["--scorer", f"{tmp_path / 'broken.py'}:broken"], "it raised ZeroDivisionError"),
    ):
        result = tunesmith("evaluate", workspace.run, *options)
        assert result.code == 2, options
        assert message in " ".join(result.stderr.split()), result.stderr
        assert not (workspace.run / "evaluation").exists()


LATE = """
def moody(completion, reference, prompt):
    if completion != reference:
        raise ValueError("no mood for answers")
    return 1.0
"""


def asked_of(run: Path) -> list[tuple[str, str, float]]:
    """What the models said, and their losses."""
    records = read_records(run / "evaluation" / "records.jsonl")
    return [(label, answer.completion, answer.loss_total) for record in records for label, answer in record.answers.items()]


def test_answers_are_scored_anew_without_a_model(
    tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    asking = ["evaluate", workspace.run, "--split", "train", "--limit", "6", "--max-new-tokens", "4"]
    first = succeed(tunesmith(*asking, "--json")).document
    said = asked_of(workspace.run)
    monkeypatch.setattr("tunesmith.evaluate.evaluate.open_tuned", lambda *_, **__: pytest.fail("a model was asked"))
    again = succeed(tunesmith("evaluate", workspace.run, "--rescore", "--json"))
    assert again.document == first  # what was not given is as it was
    own = f"{tmp_path / 'mine.py'}:polite"
    other = succeed(tunesmith("evaluate", workspace.run, "--rescore", "--scorer", "chrf", "--scorer", own, "--weight", "chrf=1", "--json"))
    assert [one["metric"]["name"] for one in other.document["comparisons"]] == ["loss", "score", "chrf", own]
    assert "to 6 examples with chrF, polite; asked no model" in " ".join(other.stderr.split())
    assert asked_of(workspace.run) == said
    assert other.document["settings"]["limit"] == 6
    unweighted = succeed(tunesmith("evaluate", workspace.run, "--rescore", "--scorer", "chrf", "--json")).document
    assert unweighted["deciding"] == ["loss", "chrf"]


def test_a_scorer_that_fails_on_an_answer_costs_no_answer(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    own = tmp_path / "late.py"
    own.write_text(LATE, encoding="utf-8")  # content with the references it is tried on, not with an answer
    failed = tunesmith("evaluate", workspace.run, "--max-new-tokens", "4", "--scorer", f"{own}:moody")
    assert failed.code == 2
    message = " ".join(failed.stderr.split())
    assert "it raised ValueError: no mood for answers" in message
    assert f"tunesmith evaluate {workspace.run} --rescore" in message
    assert not (workspace.run / "evaluation" / "records.jsonl").exists()
    own.write_text(LATE.replace("raise ValueError", "str"), encoding="utf-8")
    document = succeed(tunesmith("evaluate", workspace.run, "--rescore", "--json")).document
    assert [one["metric"]["name"] for one in document["comparisons"]] == ["loss", f"{own}:moody"]
    assert document["settings"]["generation"]["max_new_tokens"] == 4
    assert asked_of(workspace.run)


def test_answers_of_something_else_are_not_scored(tunesmith: Tunesmith, workspace: Workspace) -> None:
    def refused(*options: str) -> str:
        result = tunesmith("evaluate", workspace.run, "--rescore", *options)
        assert result.code == 2
        return " ".join(result.stderr.split())

    assert "there are no stored answers" in refused()
    succeed(tunesmith("evaluate", workspace.run, "--max-new-tokens", "4", "--limit", "1"))
    assert 'split is given as "train"' in refused("--split", "train")
    assert 'generation is given as {"max_new_tokens": 9}' in refused("--max-new-tokens", "9")
    assert "seed is given as 3" in refused("--seed", "3")  # it draws the sample
    assert "no model is asked" in refused("--device", "cpu")
    weights = workspace.run / "model" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-64:] = bytes(byte ^ 1 for byte in content[-64:])
    weights.write_bytes(bytes(content))
    assert "of another tuned model's weights" in refused()
    answers = workspace.run / "evaluation" / "answers.jsonl"
    answers.write_text("{}\n", encoding="utf-8")
    assert "it cannot be read" in refused()
