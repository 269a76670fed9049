from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.evaluate.fakes import raw_text_record, record
from tunesmith.evaluate.flips import Flips, RightRule, find_flips

REFERENCE = "Press the reset button twice."


def test_the_two_by_two_table_lists_every_flip() -> None:
    right, wrong = "Press reset button twice", "I do not know."
    records = [
        record(name="gained", base=wrong, tuned=right),
        record(name="lost", base=right, tuned=wrong),
        record(name="gained too", base=wrong, tuned=REFERENCE),
        record(name="kept", base=right, tuned=right),
        record(name="hopeless", base=wrong, tuned=""),
        raw_text_record("not answered", (1.0, 1), (1.0, 1)),
    ]
    found = find_flips(records, 0.5)
    assert found.newly_right == ("gained", "gained too")
    assert (found.newly_wrong, found.both_right, found.both_wrong) == (("lost",), ("kept",), ("hopeless",))
    assert (found.num_right_base, found.num_right_tuned, found.num_examples) == (2, 3, 5)
    assert found.p_value == 1.0
    assert found.rule == RightRule(metric="token_f1", threshold=0.5)
    assert Flips.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_the_threshold_decides_what_is_right() -> None:
    half = record(base="", tuned="press reset")  # token F1 2/3
    assert find_flips([half], 0.6).newly_right == ("a",)
    assert find_flips([half], half.tuned.scores["token_f1"]).newly_right == ("a",)  # the threshold itself is right
    assert find_flips([half], 0.7).newly_right == ()


@pytest.mark.parametrize(("references", "metric"), [(["card lost", "top up", "a much longer reference than those"], "exact_match")])
def test_labels_must_match_exactly(references: list[str], metric: str) -> None:
    records = [record(name=reference, reference=reference, tuned="card lost or stolen") for reference in references]
    found = find_flips(records, 0.5)
    assert found.rule.metric == metric
    assert found.newly_right == ()  # though its token F1 with "card lost" is 2/3
    assert "half of the references have at most 3 words" in found.rule.words


def test_long_references_need_the_words() -> None:
    assert find_flips([record()], 0.5).rule.words == "token F1 at least 0.50"


def test_no_answers_is_an_empty_table() -> None:
    found = find_flips([raw_text_record("a", (1.0, 1), (1.0, 1))], 0.5)
    assert found.num_examples == 0
    assert found.p_value == 1
