"""Fixes change what they are asked to, say what they did, and are refused where they would leave nothing."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.samples import qa
from tunesmith.config import PrepareConfig
from tunesmith.data import prepare, rows_from_records
from tunesmith.data.converting.examples import build_example
from tunesmith.data.converting.repair import FIXES, Repair, with_parts
from tunesmith.data.parsing.faults import UnusableRowError
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Message

MOJIBAKE = "donâ€™t"
FIXED = "don't"


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_every_fix_is_there_and_leaves_clean_text_alone() -> None:
    example = qa("How do I reset it?", "Hold the button for three seconds.")
    repaired = Repair(tuple(name for name in FIXES if name != "pii-names")).apply(example)  # which needs an extra
    assert repaired.example is example
    assert repaired.changes == ()


def test_a_fix_says_what_it_changed() -> None:
    example = build_example(
        "faq.csv:2",
        messages=(Message(role="user", content="Why?"), Message(role="assistant", content=f"I {MOJIBAKE} know.")),
        rejected=f"You {MOJIBAKE}.",
    )
    repaired = Repair(("mojibake",)).apply(example)
    assert "â€" not in repaired.example.reference
    assert "â€" not in (repaired.example.rejected or "")
    (change,) = repaired.changes
    assert change.reason == "mojibake"
    assert change.before == {"messages[1]": f"I {MOJIBAKE} know.", "rejected": f"You {MOJIBAKE}."}
    assert change.after.keys() == change.before.keys()
    assert repaired.example.id != example.id
    assert repaired.example.group == example.group, "the prompt did not change"
    assert repaired.example == with_parts(example, change.after)


def test_goes_to_workers_by_name() -> None:
    repair = Repair(("pii", "mojibake"))
    repair.apply(qa("a", "b"))
    assert pickle.loads(pickle.dumps(repair)).names == repair.names == ("mojibake", "pii")


def test_an_unknown_fix_or_check_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    rows = rows_from_records([{"question": "a", "answer": "b"}])
    with pytest.raises(ConfigError, match=r"--fix: there is no 'typos'; expected some of .*mojibake"):
        prepare(["nowhere.csv"], tmp_path / "out", PrepareConfig(fix=("typos",)))
    with pytest.raises(ConfigError, match=r"--drop: there is no 'boredom'; expected some of .*near-duplicates"):
        prepare(None, tmp_path / "out", PrepareConfig(drop=("boredom",)), rows=rows)
    assert not (tmp_path / "out").exists()


def test_nothing_left_of_an_answer_is_an_unusable_row() -> None:
    example = qa("What now?", "\u200b\u0000")
    with pytest.raises(UnusableRowError, match="says nothing once control-characters is fixed"):
        Repair(("control-characters",)).apply(example)


def test_prepare_fixes_and_writes_down_what_it_did(tmp_path: Path) -> None:
    records = [{"question": f"Question {number} about a wide world?", "answer": f"It is the number {number}."} for number in range(20)]
    records[4]["answer"] = f"I {MOJIBAKE} know."
    config = PrepareConfig(fix=("mojibake",))
    prepared = prepare(None, tmp_path / "out", config, rows=rows_from_records(records, "faq"))
    (change,) = read_lines(tmp_path / "out" / "changed.jsonl")
    assert (change["source"], change["reason"]) == ("faq#5", "mojibake")
    assert change["before"] == {"messages[1]": f"I {MOJIBAKE} know."}
    assert prepared.manifest["counts"]["examples_changed"] == 1
    assert "changed 1 example (1 mojibake)" in prepared.summary()
    everyone = {one.source: one.reference for one in (*prepared.train, *prepared.validation, *prepared.test)}
    assert everyone["faq#5"] == change["after"]["messages[1]"]
    assert "mojibake" not in {finding["check"] for finding in prepared.findings()}, "fixed before it is looked for"


def test_drops_are_written_down_with_their_reason(tmp_path: Path) -> None:
    words = ["river", "castle", "engine", "garden", "market", "violin", "winter", "pepper", "signal", "carpet", "bridge", "lantern"]
    records = [{"question": f"What is a {word} good for in a story?", "answer": f"A {word} gives it a place and a mood."} for word in words]
    records += [{"question": "What is a river good for, in a story??", "answer": "A river gives it a place and a mood!"}]
    records += [{"question": "And what is a dragon good for?", "answer": "TODO"}]
    rows = rows_from_records(records, "faq")
    kept = prepare(None, tmp_path / "kept", PrepareConfig(), rows=rows)
    assert kept.manifest["counts"]["examples_kept"] == 14, "nothing is dropped unless it is asked for"
    flagged = {finding["check"]: finding["action"] for finding in kept.findings()}
    assert flagged["near-duplicates"] == flagged["placeholder-answer"] == "kept"
    config = PrepareConfig(drop=("near-duplicates", "placeholder-answer"))
    prepared = prepare(None, tmp_path / "out", config, rows=rows)
    removed = {one["source"]: one["reason"] for one in read_lines(tmp_path / "out" / "removed.jsonl")}
    assert removed == {"faq#13": "near-duplicates", "faq#14": "placeholder-answer"}, "of near duplicates the first stays"
    assert "left out 2 examples" in prepared.summary()
    assert {finding["check"]: finding["action"] for finding in prepared.findings()}["near-duplicates"] == "dropped"
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["removed"] == {"near-duplicates": 1, "placeholder-answer": 1}


def test_dropping_everything_is_refused(tmp_path: Path) -> None:
    rows = rows_from_records([{"question": f"Who is number {number}?", "answer": "TODO"} for number in range(5)])
    with pytest.raises(DataError, match="leaves none of 5 examples"):
        prepare(None, tmp_path / "out", PrepareConfig(drop=("placeholder-answer",)), rows=rows)
    assert not (tmp_path / "out").exists()
