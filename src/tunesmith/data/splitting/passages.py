"""A few long texts -> train, validation and test, each a run of consecutive passages of every text.

    one book of 1,000,000 characters, test 10 %, validation 5 %
      train         its first 850,000 characters, as one text
      validation    the next 50,000, in passages of up to 1,000
      test          the last 100,000, in passages of up to 1,000

Random lines would put a sentence on one side and its end on the other. What is held out is cut small so that there are many
scores to compare; what trains stays whole, for preflight cuts it into windows of the right number of tokens. Joined in their
order, the passages are the text to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.examples import normalise_prompt, short_hash
from tunesmith.data.converting.facts import Facts, Marks, fact_values, facts_of
from tunesmith.data.splitting.split import FEWEST_TO_VALIDATE, Sides
from tunesmith.data.storing.store import StoredExamples, example_to_record, stored, to_line, write_lines
from tunesmith.types import Example

PASSAGE_CHARACTERS = 1000
"""Most characters of a held-out passage: about 250 tokens of English."""
FEWEST_CHARACTERS = 10 * PASSAGE_CHARACTERS
"""Of all texts together; less is not worth cutting."""
BREAKS = (re.compile(r"\n[^\S\n]*\n\s*"), re.compile(r"\n"), re.compile(r"\s"))
"""Ends of paragraphs, of lines, of words: where to cut, the best place first."""


def should_divide(examples: Sequence[Example], config: PrepareConfig) -> bool:
    """Are these long texts, too few of them to hold some out whole, with something to be held out?"""
    is_decided = config.test_fraction + config.validation_fraction == 0 or config.test_file or config.like or config.time_key
    if is_decided or len(examples) >= FEWEST_TO_VALIDATE:
        return False
    texts = [example.text for example in examples if example.text is not None]
    return len(texts) == len(examples) and sum(map(len, texts)) >= FEWEST_CHARACTERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Each in the order of the rows."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]


def divide(documents: Sequence[Example], config: PrepareConfig) -> Splits:
    """The first part of every text to train, the next to validate, the last to test."""
    train: list[Example] = []
    validation: list[Example] = []
    test: list[Example] = []
    for document in documents:
        text = document.text or ""
        train_end = _cut_near(text, 1 - config.test_fraction - config.validation_fraction)
        test_start = max(train_end, _cut_near(text, 1 - config.test_fraction))
        held_out = [*_cuts(text, train_end, test_start), *_cuts(text, test_start, len(text))]
        train_only, *others = _passages(document, [train_end, *held_out])
        train.append(train_only)
        for passage, end in zip(others, held_out, strict=True):
            (validation if end <= test_start else test).append(passage)
    return Splits(train=tuple(train), validation=tuple(validation), test=tuple(test))


@dataclass(frozen=True, kw_only=True, slots=True)
class Divided:
    """Passages in a file, each with its side."""

    examples: StoredExamples
    facts: Facts
    sides: Sides


def divide_into(path: Path, documents: Sequence[Example], sources: Sequence[int], config: PrepareConfig) -> Divided:
    """Write the passages of the documents to a new file. (`sources`: of each document the number of its source.)"""
    lines: list[bytes] = []
    values: list[tuple[Any, ...]] = []
    sides: list[int] = []
    for source, document in zip(sources, documents, strict=True):
        splits = divide([document], config)
        for side, passages in enumerate((splits.train, splits.validation, splits.test)):
            for passage in passages:
                lines.append(to_line(example_to_record(passage)))
                values.append(fact_values(passage, Marks(), length=len(lines[-1]), source=source, read_id=passage.id))
                sides.append(side)
    write_lines(path, lines)
    facts = facts_of(values)
    ends = np.cumsum(facts["length"])
    return Divided(examples=stored(path, ends, int(ends[-1])), facts=facts, sides=np.array(sides, np.int8))


def _cut_near(text: str, share: float) -> int:
    """The best place to cut at, or shortly before, this share of the text."""
    target = round(len(text) * share)
    whole = target >= len(text) or len(text) <= PASSAGE_CHARACTERS
    return len(text) if whole else _break_before(text, max(1, target), 0)


def _cuts(text: str, start: int, end: int) -> Iterator[int]:
    """Ends of the passages that `start … end` is cut into."""
    while end - start > PASSAGE_CHARACTERS:
        start = _break_before(text, start + PASSAGE_CHARACTERS, start)
        yield start
    if end > start:
        yield end


def _break_before(text: str, limit: int, start: int) -> int:
    """The last end of a paragraph, else of a line, else of a word, after `start` and up to `limit`; else `limit` itself."""
    first = max(start, limit - PASSAGE_CHARACTERS)
    for kind in BREAKS:
        ends = [match.end() for match in kind.finditer(text, first, limit)]
        if ends and ends[-1] > start:
            return ends[-1]
    return limit


def _passages(document: Example, ends: Sequence[int]) -> Iterator[Example]:
    """The text from one end to the next, the first from its start; the document itself where there is one end only."""
    text = document.text or ""
    if list(ends) == [len(text)]:
        yield document
        return
    start, line = 0, 1
    for end in ends:
        passage = text[start:end]
        yield Example(
            id=short_hash({"document": document.id, "start": start, "text": passage}),
            source=_source(document.source, start, line),
            group=short_hash([document.group, start, normalise_prompt(passage)]),  # with its place: refrains are no leak
            text=passage,
            unfinished=end < len(text),
        )
        start, line = end, line + passage.count("\n")


def _source(document: str, start: int, line: int) -> str:
    """`book.txt:2041`; of a text that is a cell of something, `books.jsonl:3 from character 95,001`."""
    name, _, number = document.rpartition(":")
    if name.lower().endswith(".txt") and number == "1":
        return f"{name}:{line}"
    return f"{document} from character {start + 1:,}"
