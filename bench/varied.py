"""As many questions and answers as wanted, made of those that ship with tunesmith, for measuring how things grow.

    >>> rows = list(varied_rows(1_000_000, seed=1))
    >>> rows[0].keys()
    dict_keys(['question', 'answer'])

Each row is new: a question with some of its words exchanged, and sentences of other answers with some of theirs. So rows are about as
alike as different rows of one subject are. One in twenty repeats an earlier row with a small edit, and one in a hundred repeats one word
for word, as collected data does; `planted` says which.

Written alone: python bench/varied.py 100000 rows.jsonl
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.builtin import builtin_data_file

NEAR_SHARE = 0.05
EXACT_SHARE = 0.01
KEPT_FOR_COPIES = 1000
"""Earlier rows that a copy is made of."""
EXCHANGED_SHARE = 0.4
"""Of the longer words."""
SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, kw_only=True)
class Varied:
    """A row and which earlier one it repeats."""

    question: str
    answer: str
    near: int | None = None
    """Number of the row it is an edited copy of."""
    exact: int | None = None
    """Number of the row it is a copy of."""


def varied_rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """`count` rows with a question and an answer, the same for one seed."""
    for row in planted(count, seed):
        yield {"question": row.question, "answer": row.answer}


def planted(count: int, seed: int) -> Iterator[Varied]:
    """The same rows with what is known of them."""
    rng = random.Random(seed)
    source = [json.loads(line) for line in builtin_data_file().read_text(encoding="utf-8").splitlines()]
    sentences = sorted({sentence for row in source for sentence in SENTENCE.split(row["answer"])})
    words = sorted({word for row in source for word in re.findall(r"[A-Za-z]{5,}", row["question"] + " " + row["answer"])})
    kept: list[tuple[int, str, str]] = []
    for number in range(count):
        draw = rng.random()
        if kept and draw < EXACT_SHARE + NEAR_SHARE:
            original, question, answer = rng.choice(kept)
            if draw < EXACT_SHARE:
                yield Varied(question=question, answer=answer, exact=original)
            else:
                yield Varied(question=f"Please, {question}", answer=edited(answer, rng), near=original)
            continue
        question = exchanged(rng.choice(source)["question"], words, rng)
        answer = " ".join(exchanged(rng.choice(sentences), words, rng) for _ in range(rng.randint(3, 6)))
        if len(kept) < KEPT_FOR_COPIES:
            kept.append((number, question, answer))
        elif rng.random() < 0.1:
            kept[rng.randrange(KEPT_FOR_COPIES)] = (number, question, answer)
        yield Varied(question=question, answer=answer)


def exchanged(text: str, words: list[str], rng: random.Random) -> str:
    """`text` with other words in the place of some longer ones."""
    return re.sub(r"[A-Za-z]{5,}", lambda found: rng.choice(words) if rng.random() < EXCHANGED_SHARE else found.group(), text)


def edited(text: str, rng: random.Random) -> str:
    """`text` with two letters of one word in the other order."""
    place = rng.choice([found.start() for found in re.finditer(r"[A-Za-z]{5,}", text)] or [0])
    return text[: place + 1] + text[place + 1 : place + 3][::-1] + text[place + 3 :]


def main() -> None:
    count, file, *seed = sys.argv[1:]
    with Path(file).open("x", encoding="utf-8") as out:
        for row in varied_rows(int(count), int(seed[0]) if seed else 0):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
