"""Topics are those that were put in, whatever the order, and each has its words and examples."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tunesmith.data.checks.finding import CheckContext
from tunesmith.data.checks.topics import find, find_topics
from tunesmith.data.converting.examples import build_example
from tunesmith.errors import AssetError
from tunesmith.types import Example, Message

SUBJECTS = {
    "card": ["card", "payment", "bank", "cash", "account", "transfer"],
    "garden": ["flower", "garden", "rose", "plant", "tree", "water"],
}


def examples(count: int = 60) -> list[Example]:
    rng = random.Random(4)
    made = []
    for line in range(count):
        words = SUBJECTS["card" if line % 3 else "garden"]
        prompt, answer = (" ".join(rng.choices(words, k=6)) for _ in range(2))
        made.append(
            build_example(f"a.csv:{line}", messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))
        )
    return made


def test_topics_are_those_put_in() -> None:
    [finding] = find(examples(), CheckContext())
    topics = finding.figures["topics"]
    assert [topic["count"] for topic in topics] == [40, 20]
    assert set(topics[0]["words"]) <= set(SUBJECTS["card"])
    assert set(topics[1]["words"]) <= set(SUBJECTS["garden"])
    assert all(len(topic["examples"]) == 3 for topic in topics)
    assert finding.sentence.startswith("2 topics, the largest: ")
    assert (finding.flagged, finding.count, finding.severity) == ((), 0, "note")


def test_the_order_of_the_examples_changes_nothing() -> None:
    rows = examples()
    shuffled = random.Random(1).sample(rows, len(rows))
    assert find_topics(shuffled, CheckContext()) == find_topics(rows, CheckContext())


def test_vectors_of_a_model_are_clustered_instead() -> None:
    """One that sees nothing but the first word's length."""

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[len(text.split()[0]), 0] for text in texts], np.float32)

    [finding] = find(examples(), CheckContext(), embed)
    assert finding.figures["by"] == "embeddings"
    assert sum(topic["count"] for topic in finding.figures["topics"]) == 60


def test_a_named_model_is_asked(tiny_llama: Path) -> None:
    """Any encoder or decoder whose states can be averaged will do."""
    [finding] = find(examples(), CheckContext(embeddings=str(tiny_llama)))
    assert finding.figures["by"] == "embeddings"
    with pytest.raises(AssetError, match="no-such-model"):
        find(examples(), CheckContext(embeddings="no-such-model"))


def test_few_examples_and_examples_without_words_have_no_telling_topics() -> None:
    assert find(examples(10), CheckContext()) == []
    numbers = [build_example(f"a:{line}", text=str(line)) for line in range(40)]
    [finding] = find(numbers, CheckContext())
    assert [topic["words"] for topic in finding.figures["topics"]] == [["different things"]]
