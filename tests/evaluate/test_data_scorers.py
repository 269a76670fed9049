"""Scorers of answers that are data: numbers, keywords, JSON, labels, patterns, a user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluate.fakes import example
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.answering import score_completion, try_scorers
from tunesmith.evaluate.scorers import DESCRIPTIONS, SCORERS, metric_of, resolve_scorers, weighted_score
from tunesmith.evaluate.scorers.labels import label_accuracy, label_key
from tunesmith.evaluate.scorers.meaning import similarity_scorer
from tunesmith.evaluate.scorers.patterns import regex_scorer
from tunesmith.evaluate.scorers.redirections import Redirection, redirected
from tunesmith.evaluate.scorers.scorer import Score
from tunesmith.evaluate.scorers.structured import (
    final_number,
    json_fields,
    json_valid,
    keyword_f1,
    keywords,
    number_match,
    plain_digits,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234", "1234"),
        ("1,234,567.8", "1234567.8"),
        ("1.234,5", "1234.5"),
        ("1.234.567", "1234567"),
        ("1'234.50", "1234.50"),
        ("1 234,5", "1234.5"),
        ("1\u202f234", "1234"),
        ("1.234", "1.234"),  # as in English
        ("12,5", "12.5"),
        ("0,234", "0.234"),
        ("1,2,3", "3"),  # a list
        ("2020 5", "5"),
    ],
)
def test_digits_with_every_kind_of_mark(text: str, expected: str) -> None:
    assert plain_digits(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is 42.", (42, False)),
        ("3 boxes of 4 make 12", (12, False)),
        ("so it is\n#### 1,200\nof 5", (1200, False)),
        (r"thus \boxed{-7} as in 3", (-7, False)),
        ("-$5.50", (-5.5, False)),
        ("\u22123", (-3, False)),
        ("2024-05-06", (6, False)),
        ("45 %", (45, True)),
        ("1.5e3", (1500, False)),
        ("v2", None),
        ("none", None),
        ("9" * 400, None),  # no float holds it
    ],
)
def test_the_number_a_text_comes_to(text: str, expected: tuple[float, bool] | None) -> None:
    assert final_number(text) == expected


@pytest.mark.parametrize(
    ("completion", "reference", "value"),
    [
        ("It costs 1,200 euros", "1200", 1),
        ("1200.5", "1200", 0),
        ("45%", "0.45", 1),
        ("45", "45%", 1),
        ("0.45", "45 %", 1),
        ("4.5%", "45%", 0),
        ("many", "7", 0),
        ("0.0", "0", 1),
    ],
)
def test_number_match(completion: str, reference: str, value: float) -> None:
    found = number_match()(completion, reference, "")
    assert found is not None
    assert found.value == value
    assert bool(found.explanation) == (not value)


def test_number_match_has_a_tolerance_and_does_not_apply_without_a_number() -> None:
    assert number_match(0.01)("101", "100", "").value == 1  # type: ignore[union-attr]
    assert number_match(0.005)("101", "100", "").value == 0  # type: ignore[union-attr]
    assert number_match()("7", "seven", "") is None
    scorer = resolve_scorers(["number_match:0.01"], [])[0]
    assert scorer.function("101", "100", "").value == 1  # type: ignore[union-attr]
    assert scorer.metric == metric_of("number_match:0.01")
    with pytest.raises(ConfigError, match="the tolerance is 'x'"):
        resolve_scorers(["number_match:x"], [])


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{:,}", "{}", "{:,} EUR", "about {:,}.", "{:,}.0"]))
def test_a_printed_number_is_itself(number: int, form: str) -> None:
    assert number_match()(form.format(number), str(number), "").value == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "red, green, blue",
        "blue; red; green",
        "- Red\n- green\n- blue",
        "1. blue\n2. green\n3. red",
        '["red", "green", "blue"]',
        "Keywords: red, green and blue.",
        "red, green, and blue",
        "Colours:\n* red\n* green\n* blue",
        "red\ngreen\nblue",
    ],
)
def test_one_list_in_every_form(text: str) -> None:
    assert keywords(text) == {"red", "green", "blue"}
    assert keyword_f1(text, "green, red, blue", "").value == 1  # type: ignore[union-attr]


def test_keyword_f1_by_hand() -> None:
    found = keyword_f1("red, black", "red, green, blue", "")
    # 1 shared of 2 said and 3 expected: 2 * 1 / 5.
    assert found == Score(2 / 5, "1 of 3 found; missing: blue, green; not asked for: black")
    assert keyword_f1("", "red", "") == Score(0.0, "0 of 1 found; missing: red")
    assert keyword_f1("red", "", "") is None


def test_json_valid() -> None:
    assert json_valid('{"a": [1, null]}', "", "").value == 1
    assert json_valid('```json\n{"a": 1}\n```', "", "").value == 1
    for text in ("Sure: {}", '{"a": NaN}', "{'a': 1}", "", "[" * 100_000):
        found = json_valid(text, "", "")
        assert found.value == 0
        assert found.explanation.startswith("no JSON: ")


def test_json_fields_by_hand() -> None:
    reference = '{"name": "Ana", "age": 30, "tags": ["a", "b"], "address": {"city": "Bonn"}}'
    found = json_fields('Here: {"name": "ana ", "age": 31, "tags": ["a"], "extra": true}', reference, "")
    # Right: name, tags[0]; 5 fields expected, 4 said: 2 * 2 / 9.
    assert found == Score(4 / 9, "2 of 5 fields right; wrong: age (31 for 30); missing: address.city, tags[1]; not asked for: extra")
    assert json_fields(reference, reference, "") == Score(1.0, "5 of 5 fields right")
    assert json_fields("no idea", reference, "") == Score(0.0, "no JSON object or array in it")
    assert json_fields("{}", "see [1]", "") is None  # the reference is prose
    assert json_fields('{"a": true}', '{"a": 1}', "").value == 0  # type: ignore[union-attr]
    assert json_fields('{"a": 1.0}', '{"a": 1}', "").value == 1  # type: ignore[union-attr]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_json_fields_is_symmetric_and_one_for_itself(one: dict[str, object], other: dict[str, object]) -> None:
    import json

    first, second = json.dumps(one), json.dumps(other)
    assert json_fields(first, first, "").value == 1  # type: ignore[union-attr]
    there, back = json_fields(first, second, ""), json_fields(second, first, "")
    assert there is not None
    assert back is not None
    assert there.value == pytest.approx(back.value)


LABELS = ["card_arrival", "top up", "Top up failed", "C", "C++", "-1", "1", "A"]


@pytest.mark.parametrize(
    ("completion", "reference", "value"),
    [
        ("card arrival", "card_arrival", 1),
        ("Card-arrival.", "card_arrival", 1),
        ("The category is: top up failed", "Top up failed", 1),  # the longest of labels within each other
        ("The category is: top up failed", "top up", 0),
        ("top up\nbecause it says so, not card arrival", "top up", 1),  # the first line
        ("either top up or card arrival", "top up", 0),  # two of them
        ("C", "C++", 0),
        ("c++", "C++", 1),
        ("1", "-1", 0),
        ("-1", "-1", 1),
        ("A", "A", 1),
        ("", "A", 0),
        ("something else", "A", 0),
    ],
)
def test_label_accuracy(completion: str, reference: str, value: float) -> None:
    found = label_accuracy(LABELS)(completion, reference, "")
    assert found is not None
    assert found.value == value
    assert found.label is None or found.label in {label_key(label) for label in LABELS}


def test_regex_is_found_or_not_and_cannot_run_for_ever() -> None:
    scorer = regex_scorer(r"regex:(?i)order \d+")
    assert scorer.function("Your Order 17 is on its way", "", "") == Score(1.0, "found 'Order 17'")
    assert scorer.function("no", "", "") == Score(0.0, "not found")
    assert metric_of(scorer.name) == scorer.metric
    with pytest.raises(ConfigError, match="no regular expression"):
        regex_scorer("regex:(")
    catastrophic = regex_scorer(r"regex:^(a|a|aa)+$")
    with pytest.raises(DataError, match=r"train.jsonl:t: scorer regex:.* takes over 1 s"):
        catastrophic.score("a" * 60 + "b", example("q", "r"))


OWN = """
import helper_beside

def length(completion, reference, prompt):
    return len(completion) / helper_beside.LIMIT

def why(completion, reference, prompt):
    return (completion == prompt, "echoes")

def skips(completion, reference, prompt):
    return None

def fails(completion, reference, prompt):
    return 1 / 0

def words(completion, reference, prompt):
    return "good"

def nan(completion, reference, prompt):
    return float("nan")
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "helper_beside.py").write_text("LIMIT = 10\n", encoding="utf-8")
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    return tmp_path / "mine.py"


def test_a_function_of_ones_own(own: Path) -> None:
    length, why, skips = resolve_scorers([f"{own}:length", f"{own}:why", f"{own}:skips"], [])
    assert length.score("hello", example("q", "r")) == Score(0.5)
    assert why.score("q", example("q", "r")) == Score(1.0, "echoes")
    assert skips.score("q", example("q", "r")) is None
    assert metric_of(length.name).title == "length"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "train.jsonl:t: scorer .*mine.py:fails: it raised ZeroDivisionError: division by zero"),
        ("words", "train.jsonl:t: scorer .*: it returned 'good'"),
        ("nan", "train.jsonl:t: .*:nan gave nan"),
    ],
)
def test_a_function_that_fails_names_the_example(own: Path, name: str, message: str) -> None:
    (scorer,) = resolve_scorers([f"{own}:{name}"], [])
    with pytest.raises(DataError, match=message):
        try_scorers([scorer], [example("q", "r")], {})


def test_a_file_or_function_that_is_not_there(own: Path) -> None:
    with pytest.raises(ConfigError, match="has no function 'nothing'"):
        resolve_scorers([f"{own}:nothing"], [])
    with pytest.raises(ConfigError, match="there is no file"):
        resolve_scorers([f"{own.parent / 'gone.py'}:nothing"], [])
    own.write_text("raise RuntimeError('no')", encoding="utf-8")
    with pytest.raises(ConfigError, match="loading it raised RuntimeError: no"):
        resolve_scorers([f"{own}:length"], [])


def test_an_unknown_scorer_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"there is no scorer 'rogue'; expected one of exact_match.*regex:PATTERN"):
        resolve_scorers(["rogue"], [])
    assert {name for name in DESCRIPTIONS if name.islower()} == {*SCORERS, "label_accuracy", "redirected", "embedding_similarity"}


def test_embedding_similarity_embeds_each_text_once() -> None:
    vectors = {"up": [1.0, 0.0], "left": [0.0, 1.0], "down": [-1.0, 0.0], "both": [0.6, 0.8]}
    asked: list[str] = []

    def embed(texts: object) -> object:
        asked.extend(texts)  # type: ignore[call-overload]
        return np.array([vectors[text] for text in texts])  # type: ignore[attr-defined]

    scorer = similarity_scorer(embed)  # type: ignore[arg-type]
    assert scorer.prepare is not None
    scorer.prepare(["up", "left", "up"])
    values = [scorer.function(text, "up", "").value for text in ("up", "left", "down", "both", " ")]  # type: ignore[union-attr]
    assert values == pytest.approx([1.0, 0.0, 0.0, 0.6, 0.0])
    assert asked == ["up", "left", "down", "both"]
    assert scorer.function("up", " ", "") is None


def test_redirected() -> None:
    function = redirected([Redirection(text="Let us keep to the subject of boats.", num_prompts=9)])
    declined, answered = "Let us keep to the subject of boats.", "A keel is under the hull."
    values = [[function(said, right, "").value for said in (declined, answered)] for right in (declined, answered)]  # type: ignore[union-attr]
    assert values == [[1, 0], [0, 1]]


def test_the_weighted_score_by_hand() -> None:
    found = weighted_score({"chrf": 50.0, "exact_match": 1.0, "rouge_l": 0.9}, {"chrf": 3, "exact_match": 1})
    assert found is not None
    assert found.value == pytest.approx((3 * 0.5 + 1 * 1.0) / 4)  # chrF is of 100
    assert found.explanation == "0.75 x chrf 0.50 + 0.25 x exact_match 1.00"
    assert weighted_score({"chrf": 50.0}, {"chrf": 1, "number_match": 5}).value == 0.5  # type: ignore[union-attr] # missing, not zero
    assert weighted_score({"chrf": 50.0}, {"number_match": 5}) is None


def test_the_weighted_score_comes_first_and_refuses_numbers_off_the_scale(own: Path) -> None:
    scorers = resolve_scorers(["rouge_l"], [], also=["chrf", f"{own}:length"])
    weights = {"chrf": 1.0, f"{own}:length": 1.0}
    found = score_completion("r", example("q", "r"), scorers, weights)
    assert list(found) == ["score", "rouge_l", "chrf", f"{own}:length"]
    assert found["score"].value == pytest.approx((1.0 + 0.1) / 2)
    with pytest.raises(DataError, match=r"length gave 2; expected 0 to 1, as it has a weight"):
        score_completion("r" * 20, example("q", "r"), scorers, weights)
