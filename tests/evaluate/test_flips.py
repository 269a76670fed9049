from __future__ import annotations

import json
from dataclasses import asdict, replace

from tests.evaluate.fakes import answered_again, raw_text_record, record
from tunesmith.config import EvaluateConfig
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


def test_the_rule_follows_the_deciding_score() -> None:
    labelled = record(reference="card lost", tuned="card lost or stolen", base="card lost")
    right = [
        answered_again(
            labelled,
            **{
                name: replace(one, scores={"exact_match": one.scores["exact_match"]} | one.scores) for name, one in labelled.answers.items()
            },
        )
    ]
    found = find_flips(right, 0.5)
    assert found.rule == RightRule(metric="exact_match", threshold=1.0)
    assert found.newly_wrong == ("a",)  # though its token F1 with "card lost" is 2/3
    assert found.rule.words == "exact match"
    assert find_flips(right, 0.5, EvaluateConfig(scorers=("chrf",))).rule.metric == "token_f1"  # wording has no border, this one has
    alone = [answered_again(labelled, **{name: replace(one, scores={"chrf": 60.0}) for name, one in labelled.answers.items()})]
    assert find_flips(alone, 0.5).rule == RightRule(metric="chrf", threshold=50.0)  # half of the best
    assert find_flips(alone, 0.5).rule.words == "chrF at least 50.0"


def test_records_without_the_deciding_score_are_in_no_cell() -> None:
    scored = record(name="scored", tuned=REFERENCE)
    without = answered_again(record(name="without"), tuned=replace(record().tuned, scores={}))
    found = find_flips([scored, without], 0.5)
    assert found.num_examples == 1
    assert found.rule.is_right(without.tuned)


def test_long_references_need_the_words() -> None:
    assert find_flips([record()], 0.5).rule.words == "token F1 at least 0.50"


def test_no_answers_is_an_empty_table() -> None:
    found = find_flips([raw_text_record("a", (1.0, 1), (1.0, 1))], 0.5)
    assert found.num_examples == 0
    assert found.p_value == 1
