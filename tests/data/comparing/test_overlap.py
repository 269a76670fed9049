"""Runs of words in common are counted as by hand, whatever lies around them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.comparing import overlap
from tunesmith.data.comparing.overlap import GramIndex, grams, runs_of, words_of
from tunesmith.data.comparing.shingles import mix, text_hashes

QUESTION = "What is the boiling point of water at the height of two thousand metres?"
WORDS = ["oak", "elm", "fir", "ash", "yew", "bay", "fig", "pear"]


def by_hand(text: str, size: int) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def test_words_are_bare() -> None:
    assert words_of("Don't panic: it's 5 o'clock!") == ["don", "t", "panic", "it", "s", "5", "o", "clock"]
    assert words_of("水在什么温度 boils") == ["水", "在", "什", "么", "温", "度", "boils"]


TEXTS = st.lists(st.one_of(st.text(), st.text("aB1_ -.\u00e4\u0130\u00df\u6c34\u3042\ud800\U0001d7d8\n")), max_size=5)


@given(texts=TEXTS)
def test_words_found_all_at_once_are_those_found_one_by_one(texts: list[str]) -> None:
    expected = [text_hashes(words_of(text)).tolist() for text in texts]
    every = [word for words in expected for word in words]
    [(hashes, counts)] = runs_of(texts, (1,))
    assert counts.tolist() == [len(words) for words in expected]
    assert hashes.tolist() == mix(np.array(every, np.uint64)).tolist()
    for size, (found, numbers) in zip((2, 3), runs_of(texts, (2, 3)), strict=True):
        assert numbers.tolist() == [max(0, len(words) - size + 1) for words in expected]
        assert found.tolist() == [one for text in texts for one in grams([text], size)[0].tolist()]


def test_shares_are_those_counted_by_hand() -> None:
    rng = random.Random(1)
    items = [" ".join(rng.choices(WORDS, k=rng.randrange(0, 14))) for _ in range(30)]
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(0, 40))) for _ in range(20)]
    index = GramIndex.of([(str(number), item) for number, item in enumerate(items)], 3)
    owners = {gram: sum(gram in by_hand(item, 3) for item in items) for item in items for gram in by_hand(item, 3)}
    usual = {gram for gram, count in owners.items() if count <= overlap.MOST_ITEMS}
    met = {gram for text in texts for gram in by_hand(text, 3)}
    scan = index.scan(texts)
    for number, item in enumerate(items):
        words = words_of(item)
        runs = [run for start in range(len(words) - 2) if (run := tuple(words[start : start + 3])) in usual]
        expected = sum(run in met for run in runs) / len(runs) if runs else 0
        assert index.shares(scan)[number] == pytest.approx(expected)
    assert scan.texts.tolist() == [place for place, text in enumerate(texts) if by_hand(text, 3) & usual]
    assert all(by_hand(texts[text], 3) & by_hand(items[item], 3) for text, item in zip(scan.texts, scan.items, strict=True))


def test_a_question_inside_a_longer_text_is_found() -> None:
    index = GramIndex.of([("a", QUESTION), ("b", "Too short to tell")], 13)
    scan = index.scan(["Nothing of it.", f"My teacher asked: '{QUESTION.upper()}' and I did not know."])
    assert (scan.texts.tolist(), scan.items.tolist()) == ([1], [0])
    assert index.shares(scan).tolist() == [1.0, 0.0]
    assert index.num_items == 1


def test_what_many_questions_share_tells_nothing() -> None:
    start = "Which of the following statements about the theory of evolution is true according to"
    index = GramIndex.of([(str(number), f"{start} author number {number} in the book of the year {number}") for number in range(30)], 8)
    assert index.scan([start]).texts.tolist() == []
    assert len(index.scan([f"{start} author number 7 in the book of the year 7"]).texts) == 1


def test_runs_do_not_reach_into_the_next_text() -> None:
    index = GramIndex.of([("a", "one two three four")], 4)
    assert index.scan(["one two", "three four"]).texts.tolist() == []
    assert len(grams(["one two", "three four five six"], 4)[0]) == 1


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [QUESTION, "no", QUESTION, ""]
    items = [("x", "nothing here"), ("a", QUESTION)]
    before = GramIndex.of(items, 8).scan(texts)
    monkeypatch.setattr(overlap, "BATCH_CHARACTERS", 5)
    after = GramIndex.of(items, 8).scan(texts)
    assert before.texts.tolist() == after.texts.tolist() == [0, 2]
    assert np.array_equal(before.seen, after.seen)


def test_nothing_overlaps_with_nothing() -> None:
    index = GramIndex.of([], 8)
    assert index.scan([QUESTION]).texts.tolist() == []
    assert GramIndex.of([("a", QUESTION)], 8).scan([]).texts.tolist() == []
    assert GramIndex.of([("a", QUESTION)], 8).scan(["", "a"]).texts.tolist() == []
