"""Which side an example is on, by `prepare` as a user runs it: groups, near duplicates, classes, times, test files, folds, weights."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import PrepareConfig, build
from tunesmith.data import load_prepared, prepare, rows_from_records
from tunesmith.data.prepare import prepare_folds
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import ConfigError, DataError

SUBJECTS = (
    *("river", "castle", "engine", "garden", "market", "violin", "winter", "pepper"),
    *("signal", "carpet", "bridge", "lantern", "planet", "sailor", "pocket", "candle"),
)
PLACES = (
    *("Norway", "Brazil", "Kenya", "Japan", "Canada", "Poland", "Egypt", "Chile"),
    *("Nepal", "Ireland", "Cuba", "Tonga", "Ghana", "Malta", "Peru", "Oman"),
)


def records(count: int, **columns: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Unlike questions, each with further columns by its number."""
    dice = random.Random(7)
    rows = []
    for number in range(count):
        words = " ".join(dice.sample(SUBJECTS, 3) + dice.sample(PLACES, 3))
        question = f"{number}: what do {words} have in common?"
        row = {"question": question, "answer": f"About {dice.sample(PLACES, 4)} and {dice.sample(SUBJECTS, 4)}"}
        rows.append(row | {name: value(number) for name, value in columns.items()})
    return rows


def prepared(tmp_path: Path, rows: list[dict[str, Any]], name: str = "out", **settings: Any) -> PreparedData:
    return prepare(None, tmp_path / name, PrepareConfig(**settings), rows=rows_from_records(rows, "faq"))


def sides(data: PreparedData) -> dict[str, str]:
    """Prompt -> the split it is in."""
    return {example.prompt: name for name in ("train", "validation", "test") for example in getattr(data, name)}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_group_is_never_on_two_sides(tmp_path: Path) -> None:
    rows = records(300, user=lambda number: f"user {number % 60}" if number % 7 else "")
    data = prepared(tmp_path, rows, group_key="USER", test_fraction=0.3, validation_fraction=0.2)
    where: dict[str, set[str]] = {}
    for row in rows:
        if row["user"]:
            where.setdefault(row["user"], set()).add(sides(data)[row["question"]])
    assert all(len(found) == 1 for found in where.values())
    assert {name for found in where.values() for name in found} == {"train", "validation", "test"}
    assert "not used" not in data.summary(), "the column plays a part"
    with pytest.raises(DataError, match="there is no column 'team'"):
        prepared(tmp_path, rows, "other", group_key="team")


def test_near_duplicates_are_never_on_two_sides(tmp_path: Path) -> None:
    rows = [near for row in records(200) for near in (row, {**row, "question": f"No. {row['question']}"})]
    data = prepared(tmp_path, rows, test_fraction=0.3, validation_fraction=0.0)
    where = sides(data)
    assert Counter(where.values())["test"] > 50
    assert all(where[first["question"]] == where[second["question"]] for first, second in zip(rows[::2], rows[1::2], strict=True))
    leakage = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["leakage"]
    assert leakage["same_prompts"] == leakage["near_prompts"] == 0
    apart = prepared(tmp_path, rows, "apart", test_fraction=0.3, validation_fraction=0.0, near_threshold=1)
    leakage = json.loads((tmp_path / "apart" / "report.json").read_text(encoding="utf-8"))["leakage"]
    assert leakage["near_prompts"] > 20, "what the split ignores is measured all the same"
    assert "nearly the same" in apart.summary()


def test_an_example_keeps_its_side_whatever_the_order_and_the_growth(tmp_path: Path) -> None:
    """Near duplicates aside, for a new row may be near to two examples."""
    rows = records(400)
    first = sides(prepared(tmp_path, rows[:200], "one", near_threshold=1))
    shuffled = [*rows]
    random.Random(1).shuffle(shuffled)
    second = sides(prepared(tmp_path, shuffled, "two", near_threshold=1))
    assert all(second[prompt] == side for prompt, side in first.items())


def test_like_an_earlier_set_for_sure(tmp_path: Path) -> None:
    rows = records(60)
    earlier = prepared(tmp_path, rows, "earlier", seed=1, test_fraction=0.3)
    test = earlier.test[0]
    added = {"question": test.prompt.replace("what do", "What do").replace("?", " ?"), "answer": "Something else altogether, by the way."}
    grown = prepared(tmp_path, [*rows[::-1], *records(140)[60:], added], "grown", seed=2, like=str(earlier.directory))
    before, after = sides(earlier), sides(grown)
    assert all(after[prompt] == side for prompt, side in before.items())
    assert after[added["question"]] == "test", "what is near to a test example is tested"
    unlike = sides(prepared(tmp_path, rows, "unlike", seed=2))
    assert any(unlike[prompt] != side for prompt, side in before.items())
    with pytest.raises(DataError, match="not a prepared directory"):
        prepared(tmp_path, rows, "x", like=str(tmp_path))


def test_classes_in_proportion(tmp_path: Path) -> None:
    rows = records(400, topic=lambda number: "rare" if number % 20 == 0 else ("common", "other")[number % 2])
    data = prepared(tmp_path, rows, stratify_key="topic", validation_fraction=0.1)
    topic_of = {row["question"]: row["topic"] for row in rows}
    counted = Counter((topic_of[prompt], side) for prompt, side in sides(data).items())
    assert [counted[name, "test"] for name in ("common", "other", "rare")] == [18, 20, 2]
    assert [counted[name, "validation"] for name in ("common", "other", "rare")] == [18, 20, 2]
    assert "each topic in proportion" in data.summary()
    grown = [*rows, *({**row, "topic": "new"} for row in records(500)[400:])]
    after = sides(prepared(tmp_path, grown, "grown", stratify_key="topic", validation_fraction=0.1))
    assert all(after[prompt] == side for prompt, side in sides(data).items()), "another class changes nothing"


def test_classes_may_be_the_answers(tmp_path: Path) -> None:
    rows = [{"prompt": row["question"], "completion": ("yes", "no", "maybe")[number % 3]} for number, row in enumerate(records(90))]
    data = prepared(tmp_path, rows, stratify_key="answer")
    assert Counter(example.reference for example in data.test) == {"yes": 3, "no": 3, "maybe": 3}
    with pytest.raises(DataError, match=r"there is no column 'mood' \(--stratify-key\); expected one of the columns prompt, completion"):
        prepared(tmp_path, rows, "other", stratify_key="mood")


def test_the_newest_test(tmp_path: Path) -> None:
    rows = records(100, when=lambda number: f"2024-{1 + number * 37 % 100 // 10:02d}-{1 + number * 37 % 10:02d}")
    data = prepared(tmp_path, rows, time_key="when")
    when = {row["question"]: row["when"] for row in rows}
    times = {name: sorted(when[one.prompt] for one in getattr(data, name)) for name in ("train", "validation", "test")}
    assert [len(times[name]) for name in ("train", "validation", "test")] == [85, 5, 10]
    assert times["train"][-1] < times["validation"][0]
    assert times["validation"][-1] < times["test"][0]
    assert "the newest by when test" in data.summary()


@pytest.mark.parametrize(
    ("value", "problem"), [("soon", "unclear time"), ("", "missing time"), (None, "missing time"), (True, "unclear time")]
)
def test_a_time_that_is_none(tmp_path: Path, value: Any, problem: str) -> None:
    rows = records(12, when=lambda number: value if number == 3 else 1_700_000_000 + number)
    with pytest.raises(DataError, match=rf"faq#4: the time \(column 'when'\).*{problem}"):
        prepared(tmp_path, rows, time_key="when")


def test_a_fixed_test_file_and_what_is_near_to_it(tmp_path: Path) -> None:
    rows = records(50)
    exam = [rows[3], {**rows[7], "answer": "Another answer."}, *records(60)[55:]]
    train = write(tmp_path / "faq.jsonl", [*rows, {**exam[3], "question": exam[3]["question"].upper()}])
    config = PrepareConfig(test_file=str(write(tmp_path / "exam.jsonl", exam)))
    data = prepare([train], tmp_path / "out", config)
    assert {one.source for one in data.test} == {f"exam.jsonl:{number}" for number in range(1, 8)}
    removed = [json.loads(line) for line in (tmp_path / "out" / "removed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {one["source"]: one["reason"] for one in removed} == {
        "faq.jsonl:4": "exact duplicate",
        "faq.jsonl:8": "nearly the same as a test example",
        "faq.jsonl:51": "nearly the same as a test example",
    }
    assert data.manifest["counts"]["examples_removed"] == 2
    assert len(data.train) + len(data.validation) == 48
    with pytest.raises(DataError, match="it is given twice"):
        prepare([train], tmp_path / "x", PrepareConfig(test_file=str(train)))


def test_folds_test_every_example_once(tmp_path: Path) -> None:
    rows = records(120, topic=lambda number: "ab"[number % 2])
    for name, settings in (("plain", {}), ("even", {"stratify_key": "topic"})):
        config = PrepareConfig(**settings)
        folds = prepare_folds(None, tmp_path / name, config, num_folds=4, rows=rows_from_records(rows, "faq"))
        tested = Counter(example.prompt for fold in folds for example in fold.test)
        assert len(tested) == 120
        assert set(tested.values()) == {1}
        for number, fold in enumerate(folds, start=1):
            assert load_prepared(tmp_path / name / f"fold-{number}") == fold
            assert len(sides(fold)) == 120
            assert fold.validation
            assert f"fold {number} of 4" in fold.summary()
        assert name == "plain" or {len(fold.test) for fold in folds} == {30}
        assert not list((tmp_path / name).glob("*.spool"))
    with pytest.raises(DataError, match="leave some of 50 folds empty"):
        prepare_folds(None, tmp_path / "x", PrepareConfig(), num_folds=50, rows=rows_from_records(rows[:60]))
    assert not (tmp_path / "x").exists()
    with pytest.raises(ConfigError, match="--folds and --time-key"):
        prepare_folds(None, tmp_path / "x", PrepareConfig(time_key="when"), num_folds=2, rows=rows_from_records(rows))


def test_weights_change_training_alone(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.jsonl", records(100)), write(tmp_path / "two.jsonl", records(300)[100:])
    plain = prepare([one, two], tmp_path / "plain", PrepareConfig())
    config = PrepareConfig(weights={"one.jsonl": 2.5, "tw*": 0.5})
    data = prepare([one, two], tmp_path / "out", config)
    assert (data.test, data.validation) == (plain.test, plain.validation)
    times = Counter(example.source for example in data.train)
    assert {count for source, count in times.items() if source.startswith("one")} == {2, 3}
    assert {count for source, count in times.items() if source.startswith("two")} == {1}
    assert sum(source.startswith("two") for source in times) == pytest.approx(85, abs=35)
    assert data.manifest["counts"]["train"] == len(data.train) == times.total()
    assert data.manifest["counts"]["examples_kept"] == len(times) + len(data.test) + len(data.validation)
    assert list(prepare([one, two], tmp_path / "again", config).train) == list(data.train)
    with pytest.raises(ConfigError, match=r"--weight: no source is called three; expected one of one\.jsonl, two\.jsonl"):
        prepare([one, two], tmp_path / "x", PrepareConfig(weights={"three": 2}))


def test_settings_that_contradict_each_other() -> None:
    for wrong in ({"stratify_key": "a", "time_key": "b"}, {"weights": {"a": 0}}, {"weights": {"a": 1000}}, {"near_threshold": 0}):
        with pytest.raises(ConfigError):
            build(PrepareConfig, wrong)


def test_where_everything_is_nearly_the_same_it_is_split_and_said(tmp_path: Path) -> None:
    question = "Please write down the next line of the long and well-known poem about the river and the castle, after line {}"
    rows = [{"question": question.format(number), "answer": f"{number}"} for number in range(30)]
    data = prepared(tmp_path, rows)
    assert data.test
    assert "nearly all prompts are nearly the same, so near duplicates are on several sides" in data.summary()
    assert "0 of" not in data.summary().partition("prompts the same, ")[2][:4], "and measured"


def test_a_name_with_brackets_names_itself(tmp_path: Path) -> None:
    one = write(tmp_path / "faq[1].jsonl", records(20))
    data = prepare([one], tmp_path / "out", PrepareConfig(weights={"faq[1].jsonl": 2}, test_fraction=0, validation_fraction=0))
    assert len(data.train) == 40
