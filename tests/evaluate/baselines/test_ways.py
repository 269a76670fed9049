"""What is shown before a question, and that nothing else of an example changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tunesmith.data.converting.examples import build_example
from tunesmith.embeddings import Vectors
from tunesmith.evaluate.baselines.retrieval import Passage, Shelf, passages_of
from tunesmith.evaluate.baselines.ways import fit_into, shots_for, with_instructions, with_passages, with_shots
from tunesmith.types import Example, Message


def example(question: str, answer: str, source: str = "faq.jsonl:1", *, system: str | None = None) -> Example:
    first = (Message(role="system", content=system),) if system else ()
    messages = (*first, Message(role="user", content=question), Message(role="assistant", content=answer))
    return build_example(source, messages=messages)


ASKED = example("How do I reset my password?", "Open Settings.")
TRAIN = [
    example("Where can I change the password?", "In Settings.", "faq.jsonl:2"),
    example("What does it cost?", "Nothing.", "faq.jsonl:3"),
    example("Is there a password manager?", "Yes.", "faq.jsonl:4"),
]


def texts(one: Example) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in one.messages]


def test_instructions_lead_and_join_what_was_there() -> None:
    (changed,) = with_instructions([ASKED], "Be brief.")
    assert texts(changed) == [("system", "Be brief."), *texts(ASKED)]
    assert (changed.id, changed.reference, changed.prompt) == (ASKED.id, ASKED.reference, ASKED.prompt)
    (joined,) = with_instructions([example("Q?", "A.", system="You help.")], "Be brief.")
    assert texts(joined)[0] == ("system", "You help.\n\nBe brief.")


def test_passages_go_into_the_system_message() -> None:
    (changed,) = with_passages([ASKED], [[Passage(text="P1", source="a"), Passage(text="P2", source="b")]])
    role, content = texts(changed)[0]
    assert role == "system"
    assert content.endswith("\n\nP1\n\nP2")
    assert with_passages([ASKED], [[]]) == [ASKED]


def test_shots_are_earlier_turns_the_nearest_last() -> None:
    shelf = Shelf.of(passages_of(TRAIN), "bm25")
    shots = shots_for([ASKED], TRAIN, 2, nearest=shelf, seed=0)
    assert [shot.source for shot in shots[0]] == ["faq.jsonl:4", "faq.jsonl:2"]
    (changed,) = with_shots([ASKED], shots)
    assert texts(changed) == [*texts(TRAIN[2]), *texts(TRAIN[0]), *texts(ASKED)]


def test_the_same_shots_for_all_are_a_seeded_draw() -> None:
    first, second = shots_for([ASKED, ASKED], TRAIN, 2, nearest=None, seed=1)
    assert first == second
    assert first == shots_for([ASKED], TRAIN, 2, nearest=None, seed=1)[0]
    assert len(shots_for([ASKED], TRAIN, 9, nearest=None, seed=1)[0]) == 3


def test_bm25_finds_what_shares_words_and_nothing_else() -> None:
    shelf = Shelf.of(passages_of(TRAIN), "bm25")
    (found,) = shelf.nearest(["the password, please"], 3)
    assert {passage.source for passage in found} == {"faq.jsonl:2", "faq.jsonl:4"}
    assert shelf.nearest(["quantum chromodynamics"], 3) == [()]


def test_what_is_too_long_loses_its_earliest_turns_then_the_end_of_its_passages() -> None:
    (shown,) = with_shots([ASKED], [[TRAIN[1], TRAIN[0]]])
    (fitted,) = fit_into([shown], lambda one: len(one.messages) <= 4)
    assert texts(fitted) == [*texts(TRAIN[0]), *texts(ASKED)]
    (long,) = with_passages([ASKED], [[Passage(text="word " * 200, source="a")]])
    (cut,) = fit_into([long], lambda one: sum(len(message.content) for message in one.messages) <= 300)
    assert texts(cut)[1:] == texts(ASKED)
    assert long.messages[0].content.startswith(cut.messages[0].content)
    assert fit_into([ASKED], lambda one: False) == (ASKED,)  # the question itself is not for this to cut


def test_the_nearest_shot_is_the_passage_found_where_two_come_from_one_source() -> None:
    asked = [("Where can I change the password?", "In Settings."), ("What does it cost?", "Nothing.")]
    train = [example(question, answer, "guide.md:2") for question, answer in asked]
    shots = shots_for([ASKED], train, 1, nearest=Shelf.of(passages_of(train), "bm25"), seed=0)
    assert shots == [[train[0]]]


def test_training_answers_are_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def embed(texts: Sequence[str]) -> Vectors:
        told.extend(texts)
        return np.array([[float("password" in text), float("cost" in text)] for text in texts], dtype=np.float32)

    monkeypatch.setattr("tunesmith.evaluate.baselines.retrieval.embed", embed)
    passages = passages_of(TRAIN)
    part = Shelf.of(passages, "embeddings").part([1, 2])
    assert part.nearest(["cost"], 1) == [(passages[1],)]
    assert told == [*(passage.text for passage in passages), "cost"]
    assert Shelf.of(passages, "bm25").part([1, 2]).nearest(["password"], 3) == [(passages[2],)]
