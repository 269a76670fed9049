"""Contradictions are a judge's to find: strict, quoted, kept on the disk, and missing where there is no verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.evaluate.fakes import record
from tunesmith.analyze.analysis import analyze_records
from tunesmith.analyze.judging import Judge, judge_contradictions
from tunesmith.chat.budget import Budget
from tunesmith.chat.calls import Call, Outcome
from tunesmith.chat.models import Answered
from tunesmith.config import AnalyzeConfig, ChatConfig


class Scripted:
    """Says what it is told to, by the answer that it is shown."""

    name = "scripted"

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self.asked = replies, 0

    def answer(self, calls: Sequence[Call], budget: Budget) -> Iterator[Answered]:
        for call in calls:
            self.asked += 1
            shown = call.messages[-1].content.rpartition("Other answer:\n")[2]
            yield Answered(call, Outcome(text=self.replies[shown]))


RIGHT = "It costs 10 dollars a year."
REPLIES = {
    "It costs 12 dollars.": json.dumps({"contradicts": True, "right_answer_says": "10 dollars", "other_answer_says": "costs 12 dollars"}),
    "It is cheap.": json.dumps({"contradicts": False, "right_answer_says": "", "other_answer_says": ""}),
    "Ten dollars it is.": json.dumps({"contradicts": True, "right_answer_says": "10", "other_answer_says": "words it never said"}),
    "Who knows?": "Hard to say.",
}


def test_verdicts(tmp_path: Path) -> None:
    records = [record(name=said, reference=RIGHT, base=RIGHT, tuned=said) for said in REPLIES]
    model = Scripted(REPLIES)
    judge = Judge(model=model, config=ChatConfig())
    verdicts, notes = judge_contradictions(records, judge, tmp_path)
    assert verdicts == {("It costs 12 dollars.", "tuned"): "says 'costs 12 dollars' where the reference says '10 dollars'"}
    assert notes == ("contradictions: 2 of 4 answers judged by scripted; 2 have no verdict and count as not judged",)
    assert model.asked == 4  # an answer that is the reference needs no judge
    assert judge_contradictions(records, judge, tmp_path) == (verdicts, notes)
    assert model.asked == 4  # nothing is asked twice

    analysis = analyze_records(records, [], AnalyzeConfig(), contradictions=verdicts, notes=notes)
    (group,) = [group for group in analysis.groups if group.name == "contradicts_reference"]
    assert (group.severity, group.members) == ("catastrophic", ("It costs 12 dollars.",))
    assert not any("only a judge can tell" in note for note in analysis.notes)
