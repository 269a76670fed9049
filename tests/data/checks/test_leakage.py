"""What of the test stands in training is counted, each kind by itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tunesmith.data.checks.finding import CheckContext
from tunesmith.data.checks.leakage import measure_leakage
from tunesmith.data.checks.run import run_checks
from tunesmith.data.converting.examples import build_example
from tunesmith.data.reading.benchmarks import find_suites, question_of, questions
from tunesmith.errors import DataError
from tunesmith.types import Example, Message

WORDS = ["oak", "elm", "fir", "ash", "yew", "bay", "fig", "pear", "plum", "lime", "rose", "moss", "fern", "reed", "rush", "ivy"]


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choice(WORDS) + rng.choice(WORDS) for _ in range(length))


def example(line: int, prompt: str, answer: str) -> Example:
    return build_example(f"a.csv:{line}", messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))


@pytest.fixture
def sides() -> tuple[list[Example], list[Example]]:
    rng = random.Random(1)
    train = [example(line, sentence(rng, 15), sentence(rng, 20)) for line in range(60)]
    test = [example(100 + line, sentence(rng, 15), sentence(rng, 20)) for line in range(20)]
    return train, test


def test_unlike_sides_share_nothing(sides: tuple[list[Example], list[Example]]) -> None:
    leakage = measure_leakage(*sides)
    assert (leakage.same_prompts, leakage.near_prompts, leakage.held, leakage.train) == (0, 0, (), ())
    assert leakage.sharing == {13: 0, 8: 0}
    assert leakage.sentence() == (
        "test against training: 0 of 20 prompts the same, 0 nearly the same; 0 share a run of 13 words, 0 most of their runs"
    )


def test_every_kind_of_leak_is_counted(sides: tuple[list[Example], list[Example]]) -> None:
    train, test = sides
    rng = random.Random(2)
    test[0] = example(200, train[5].prompt.upper(), "other")  # the same prompt
    test[1] = example(201, train[6].prompt.replace(train[6].prompt.split()[3], "mistake"), "other")  # nearly the same
    test[2] = example(202, "Quoted: " + train[7].reference, "other")  # its words are in an answer
    test[3] = example(203, " ".join(train[8].reference.split()[:9]) + " " + sentence(rng, 30), "other")  # nine words of one
    leakage = measure_leakage(train, test)
    assert (leakage.same_prompts, leakage.near_prompts) == (1, 2)
    assert leakage.sharing == {13: 2, 8: 4}
    assert leakage.held == (0, 1, 2)
    assert leakage.train == (5, 6)
    assert {one.source for one in leakage.specimens} == {"a.csv:200 and a.csv:5", "a.csv:201 and a.csv:6"}
    assert leakage.to_json()["leaked_share"] == 0.15


def test_near_prompts_are_not_looked_for_where_there_are_none(sides: tuple[list[Example], list[Example]]) -> None:
    train, test = sides
    test[1] = example(201, train[6].prompt.replace(train[6].prompt.split()[3], "mistake"), "other")
    test[2] = example(202, "Quoted: " + train[7].reference, "other")
    assert (measure_leakage(train, test).held, measure_leakage(train, test, are_apart=True).held) == ((1, 2), (2,))


def test_the_check_flags_the_training_examples(sides: tuple[list[Example], list[Example]]) -> None:
    train, test = sides
    test[0] = example(200, train[5].prompt, "other")
    [finding] = run_checks([*test, *train], ["leakage"], context=CheckContext(test_positions=frozenset(range(20))))
    assert finding.flagged == (25,)
    assert (finding.count, finding.share, finding.severity) == (1, 0.05, "problem")
    assert run_checks(train, ["leakage"], context=CheckContext()) == []


def test_empty_prompts_are_no_leak(sides: tuple[list[Example], list[Example]]) -> None:
    train, test = sides
    leakage = measure_leakage([*train, example(300, "", "hm")], [*test, example(301, " ", "no")])
    assert leakage.same_prompts == leakage.near_prompts == 0


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """Two benchmarks in one folder, laid out as on the hub."""
    rng = random.Random(3)
    for name, count in (("quiz", 5), ("exam", 3)):
        folder = tmp_path / "suites" / name
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("# About\n", encoding="utf-8")
        lines = "".join(f'{{"question": "{sentence(rng, 16)}?", "answer": "{sentence(rng, 3)}"}}\n' for _ in range(count))
        (folder / "test.jsonl").write_text(lines, encoding="utf-8")
        (folder / "train.jsonl").write_text('{"question": "left out", "answer": "of it"}\n', encoding="utf-8")
    (tmp_path / "suites" / "quiz" / "test.jsonl").open("a").write('{"question": "Who are you?", "answer": "Me"}\n')
    return tmp_path / "suites"


def test_questions_of_benchmarks_are_found(sides: tuple[list[Example], list[Example]], suites: Path) -> None:
    found = find_suites([suites])
    assert list(found) == ["exam", "quiz"]
    assert len(list(questions(found["quiz"]))) == 6
    first = next(questions(found["exam"]))
    assert first[0] == "test.jsonl#1"
    train = sides[0]
    train[10] = example(10, f"Tell me. {first[1].capitalize()}", "hm")
    train[20] = example(20, "who are you", "A model.")
    [finding] = run_checks(train, ["benchmark-overlap"], context=CheckContext(benchmarks=found))
    assert finding.check == "benchmark-overlap"
    assert finding.flagged == (10, 20)
    assert finding.severity == "problem"
    assert "1 of 3 of exam" in finding.sentence
    assert "1 of 6 of quiz" in finding.sentence
    assert {one.source for one in finding.specimens} == {"a.csv:10 and exam/test.jsonl#1", "a.csv:20 and quiz/test.jsonl#6"}
    assert finding.figures["quiz"]["equal"] == 1
    assert run_checks(sides[1], ["benchmark-overlap"], context=CheckContext(benchmarks=found)) == []


def test_what_is_asked_of_a_row() -> None:
    assert question_of({"id": "7", "question": "Why?", "choices": ["a", "b"]}) == "Why?"
    assert question_of({"ind": 4, "activity_label": "x", "ctx": "A man is sitting"}) == "A man is sitting"
    assert question_of({"title": "One", "body": "two", "n": 3}) == "One two"


def test_benchmarks_that_are_not_there(tmp_path: Path, suites: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        find_suites([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it holds no rows of a benchmark"):
        find_suites([tmp_path / "empty"])
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / "test.csv").write_text("question\nwhy\n", encoding="utf-8")
    with pytest.raises(DataError, match="another benchmark is called quiz"):
        find_suites([suites, tmp_path / "quiz"])


def test_the_real_benchmarks(shared_data: Path) -> None:
    """ARC-Easy's training questions hold a few that its test questions were made from, too."""
    found = find_suites([shared_data / "eval"])
    assert list(found) == ["ai2_arc", "hellaswag", "mmlu", "truthful_qa"]
    assert sum(1 for _ in questions(found["hellaswag"])) == 10042
    arc = [text for _, text in questions(found["ai2_arc"])]
    rows = [example(number, text, "A") for number, text in enumerate([*arc[:5], "What is the capital of this new country of ours?"])]
    [finding] = run_checks(rows, ["benchmark-overlap"], context=CheckContext(benchmarks={"arc": found["ai2_arc"]}))
    assert finding.flagged == (0, 1, 2, 3, 4)
