"""Which examples of a set are nearly the same, and which are asked nearly the same: two questions with two answers.

    >>> found = neighbours(examples)
    >>> found.prompts[7], found.examples[7]      # asked like example 3, answered differently
    (3, 7)

Near *prompts* must stay on one side of a split, and contradict each other when they are answered differently. Near *examples* teach the
same twice: their whole texts are near, their answers are near by themselves, and their prompts at least related, for a long common answer
must not make one example of two questions. Examples whose labels or rejected answers differ are never the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.comparing.near import LONGEST, THRESHOLD, Positions, TextStore, bands_of, clusters_of, similarities
from tunesmith.data.comparing.shingles import COMMON_SAMPLE, EDGES, Hashes, common_shingles, normalise
from tunesmith.data.storing.store import StoredExamples
from tunesmith.types import Example

RELATED = 0.75
"""Prompts of near examples need this part of the threshold."""
EXAMPLES_AT_ONCE = 2048


class Neighbours(NamedTuple):
    """For each example the position of the first of its cluster; its own where it stands alone."""

    prompts: Positions
    examples: Positions


def asked(example: Example) -> str:
    """Everything before the answer; the text of a raw text."""
    return example.text if example.text is not None else "\n".join(message.content for message in example.prompt_messages)


def answered(example: Example) -> str:
    """The answer, and the rejected one where there is one; the text of a raw text."""
    return example.reference if example.rejected is None else f"{example.reference}\n{example.rejected}"


def whole(example: Example) -> str:
    """All that is said."""
    return example.text if example.text is not None else f"{asked(example)}\n{answered(example)}"


def neighbours(examples: Sequence[Example], *, threshold: float = THRESHOLD) -> Neighbours:
    """Which are near; two passes over the examples at most, and memory of a few hundred bytes for each."""
    signer = Signer.of(examples, threshold)
    with Collected(signer) as collected:
        for start in range(0, len(examples), EXAMPLES_AT_ONCE):
            collected.add(signer(examples[start : start + EXAMPLES_AT_ONCE]))
        return collected.neighbours(examples)


class Signed(NamedTuple):
    """What of some examples is compared first; arrays go by example."""

    questions: bytes
    """What is asked, normalised, one after another: it is short, and alike more often than answers are, so it is compared more often."""
    prompts: Hashes
    """Equal where it is."""
    prompt_sizes: NDArray[np.int64]
    """Bytes."""
    prompt_bands: NDArray[np.uint32]
    """(bands, examples), as `near.bands_of`."""
    wholes: Hashes
    whole_sizes: NDArray[np.int32]
    """Characters."""
    whole_bands: NDArray[np.uint32]
    labels: NDArray[np.int8]
    """2 where there is none."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Signs examples, in whichever process; says nearly the same of near ones."""

    threshold: float
    prompts: Hashes
    """Shingles of a template around many prompts, which are not compared."""
    answers: Hashes
    wholes: Hashes

    @classmethod
    def of(cls, examples: Sequence[Example], threshold: float, sample: Positions | None = None) -> Signer:
        """Templates are looked for in a sample of the examples, at the positions given; else in evenly spaced ones."""
        if sample is None:
            sample = np.unique(np.linspace(0, max(len(examples) - 1, 0), min(len(examples), COMMON_SAMPLE)).astype(np.int64))
        said = list(examples_at(examples, sample))
        parts = (_common(said, part) for part in (asked, answered, whole))
        return cls(**dict(zip(("prompts", "answers", "wholes"), parts, strict=True)), threshold=threshold)

    def __call__(self, examples: Sequence[Example]) -> Signed:
        prompts, wholes = [], []
        for example in examples:
            prompt, everything = _normal_forms(example)
            prompts.append(prompt)
            wholes.append(everything)
        labels = np.array([2 if example.label is None else int(example.label) for example in examples], np.int8)
        encoded = [prompt.encode("utf-8", "surrogatepass") for prompt in prompts]
        return Signed(
            questions=b"".join(encoded),
            prompts=_hashes(prompts),
            prompt_sizes=np.fromiter(map(len, encoded), np.int64, len(encoded)),
            prompt_bands=bands_of(prompts, self.prompts, self.threshold),
            wholes=_hashes(wholes),
            whole_sizes=np.fromiter(map(len, wholes), np.int32, len(wholes)),
            whole_bands=bands_of(wholes, self.wholes, self.threshold),
            labels=labels,
        )


def _common(examples: Sequence[Example], part: Callable[[Example], str]) -> Hashes:
    return common_shingles(list({normalise(part(example)[:LONGEST]) for example in examples}))


def _normal_forms(example: Example) -> tuple[str, str]:
    """What is asked and all that is said, as they are compared."""
    if example.text is not None:
        text = normalise(example.text[:LONGEST])
        return text, text
    question, answer = asked(example), answered(example)
    prompt = normalise(question[:LONGEST])
    if len(question) + len(answer) < LONGEST:
        reply = normalise(answer)
        if prompt and reply and prompt[0] not in EDGES and reply[0] not in EDGES:  # else it stands for punctuation alone
            return prompt, f"{prompt} {reply}"
    return prompt, normalise(f"{question}\n{answer}"[:LONGEST])


def _hashes(texts: Sequence[str]) -> Hashes:
    digests = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), np.uint64)


def examples_at(examples: Sequence[Example], positions: Positions) -> Iterator[Example]:
    """Those at these positions, in that order; from a file in few reads."""
    return iter(examples.select(positions)) if isinstance(examples, StoredExamples) else (examples[place] for place in positions.tolist())


class _Wholes(NamedTuple):
    """All that examples say, normalised, read again where it is compared: `near.Texts`."""

    examples: Sequence[Example]
    lengths: NDArray[np.int32]

    def get(self, positions: Positions) -> list[str]:
        return [_normal_forms(example)[1] for example in examples_at(self.examples, positions)]

    def sizes(self, positions: Positions) -> Positions:
        return self.lengths[positions].astype(np.int64)


class Collected:
    """Signatures of one slice of the examples after another, and which are near by them. A context manager."""

    def __init__(self, signer: Signer) -> None:
        self._signer, self._prompts = signer, TextStore()
        self._signed: list[Signed] = []

    def __enter__(self) -> Collected:
        return self

    def __exit__(self, *_: object) -> None:
        self._prompts.__exit__()

    def add(self, signed: Signed) -> None:
        """The next slice."""
        self._prompts.keep(signed.questions, signed.prompt_sizes, signed.prompts)
        self._signed.append(signed._replace(questions=b""))

    def neighbours(self, examples: Sequence[Example]) -> Neighbours:
        """Among all examples that were signed."""
        if not self._signed:
            return Neighbours(np.zeros(0, np.int64), np.zeros(0, np.int64))
        threshold = self._signer.threshold
        with ThreadPoolExecutor(1) as beside:  # numpy lets go of the interpreter where it sorts
            bands = self._every("prompt_bands")
            prompts = beside.submit(clusters_of, self._prompts, self._prompts.hashes, bands, self._signer.prompts, threshold)
            same = self._same(examples)
            found = prompts.result()  # before others read the prompts
        copies = np.flatnonzero(same != np.arange(len(same)))
        unrelated = copies[similarities(self._prompts, copies, same[copies]) < RELATED * threshold]
        same[unrelated] = unrelated
        return Neighbours(prompts=found, examples=same)

    def _same(self, examples: Sequence[Example]) -> Positions:
        """By whole texts, answers and labels, without regard to the prompts by themselves."""
        threshold = self._signer.threshold
        wholes = _Wholes(examples, self._every("whole_sizes"))
        same_whole = clusters_of(wholes, self._every("wholes"), self._every("whole_bands"), self._signer.wholes, threshold)
        in_company = np.flatnonzero(np.bincount(same_whole, minlength=len(examples))[same_whole] > 1)
        same_answer = np.arange(len(examples))
        with TextStore() as answers:
            answers.extend(map(answered, examples_at(examples, in_company)))
            same_answer[in_company] = in_company[answers.clusters(threshold, self._signer.answers)]
        return _same_in_all(same_whole, same_answer, self._every("labels").astype(np.int64))

    def _every(self, name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in self._signed], axis=-1)


def _same_in_all(wholes: Positions, answers: Positions, labels: Positions) -> Positions:
    """(examples,): the first position with the same three numbers."""
    keys = (wholes * max(len(wholes), 1) + answers) * 3 + labels
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[which])
