"""Scorers on the command line: named, weighed, one's own, and refused before a model is asked."""

from __future__ import annotations

from pathlib import Path

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
