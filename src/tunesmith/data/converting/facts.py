"""What splitting, counting and reporting need to know of an example, in about 110 bytes, so that the examples can stay on disk.

    >>> facts = facts_of(example)
    >>> facts["answer_words"], facts["empty_prompt"]
    (12, False)

An array of these records stands for a million examples in 110 MB. Hashes are 64 bits wide, those that decide what is a duplicate
128; 0 means that there is none.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.converting.examples import normalise_prompt
from tunesmith.types import Example, ExampleKind

KINDS: tuple[ExampleKind, ...] = ("text", "conversation", "pair", "judged")

FACTS = np.dtype(
    [
        ("length", "i8"),  # of its line in the file, in bytes
        ("source", "u4"),  # number of the source
        ("read_id", "u8"),  # its id as it was read, before fixes and edits
        ("said", "u8"),  # all of its words, spacing aside: both halves are equal for exact duplicates
        ("said_too", "u8"),
        ("prompt", "u8"),  # of the normalised prompt: Example.group
        ("group", "u8"),  # of Row.group
        ("stratum", "u8"),
        ("time", "f8"),  # seconds since 1970
        ("asked", "u8"),  # what an answer may contradict another about
        ("answer", "u8"),  # what it says about it
        ("kind", "u1"),  # index into KINDS
        ("desirable", "i1"),  # 1 or 0; -1 without a label
        ("empty_prompt", "?"),
        ("prompt_words", "i4"),
        ("prompt_characters", "i4"),
        ("answer_words", "i4"),  # of raw text: the text
        ("answer_characters", "i4"),
        ("rejected_words", "i4"),  # -1 without a worse answer
        ("rejected_characters", "i4"),
    ]
)
Facts = NDArray[np.void]
"""(examples,) of FACTS."""


class Marks(NamedTuple):
    """What a row says of its example beyond the content."""

    group: str | None = None
    stratum: str | None = None
    time: float = 0.0


def hash_of(text: str) -> int:
    """64 bits, never 0."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


def said(example: Example) -> bytes:
    """16 bytes made of all of an example's words in their order, spacing evened out, and of what is preferred."""
    if example.text is not None:
        parts = ["", " ".join(example.text.split())]
    else:
        # A line break cannot stand in a part, for spacing is even.
        parts = [part for message in example.messages for part in (message.role, " ".join(message.content.split()))]
        parts.append("" if example.rejected is None else f"rejected {' '.join(example.rejected.split())}")
        parts.append(str(example.label))
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()


def fact_values(example: Example, marks: Marks, *, length: int, source: int, read_id: str) -> tuple[Any, ...]:
    """The values of one record of FACTS."""
    prompt = "\n".join(message.content for message in example.prompt_messages)
    asked, answer = _verdict(example)
    rejected = example.rejected
    return (
        length,
        source,
        int(read_id, 16),
        *struct.unpack(">QQ", said(example)),
        int(example.group, 16),
        0 if marks.group is None else hash_of(marks.group),
        0 if marks.stratum is None else hash_of(marks.stratum),
        marks.time,
        asked,
        answer,
        KINDS.index(example.kind),
        -1 if example.label is None else int(example.label),
        bool(example.messages) and not example.prompt.strip(),
        len(prompt.split()),
        len(prompt),
        len(example.reference.split()),
        len(example.reference),
        -1 if rejected is None else len(rejected.split()),
        -1 if rejected is None else len(rejected),
    )


def _verdict(example: Example) -> tuple[int, int]:
    """What is asked and what is answered: two examples equal in the first and different in the second contradict each other."""
    if example.text is not None:
        return 0, 0
    answer = normalise_prompt(example.reference)
    if example.rejected is not None:
        both = sorted((answer, normalise_prompt(example.rejected)))
        return hash_of("\n".join([example.group, *both])), hash_of(answer)
    if example.label is not None:
        return hash_of(f"{example.group}\n{answer}"), hash_of(str(example.label))
    return int(example.group, 16), hash_of(answer)


def facts_of(values: list[tuple[Any, ...]]) -> Facts:
    """An array of records from `fact_values`."""
    return np.array(values, FACTS)


def first_of_each(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """(n,): for each item the position of the first that is equal in all keys, each (n,)."""
    order = np.lexsort(keys)  # stable
    is_new = np.ones(len(order), bool)
    is_new[1:] = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
    first = np.empty(len(order), np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def num_contested(facts: Facts) -> int:
    """How many questions have more than one answer among these examples."""
    answered = facts[facts["asked"] != 0]
    different = first_of_each(answered["asked"], answered["answer"]) == np.arange(len(answered))
    _, counts = np.unique(answered["asked"][different], return_counts=True)
    return int(np.count_nonzero(counts > 1))
