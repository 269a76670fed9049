"""The proof, before the first step, that training would train the right thing; or a refusal.

Every example is checked on its finished tokens (see checks.py). Of a preference pair both answers are, and that they follow
the same prompt; a raw text longer than a training sequence becomes windows, which are checked together. Ranks of a group share
the work where there is a cache (see by_ranks.py): the verdict is over all examples and the same on each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunesmith.distributed.group import ALONE, Group
from tunesmith.errors import DataError, PreflightError
from tunesmith.render.by_ranks import check_by_ranks
from tunesmith.render.chunks import CheckedChunk, Fault, Limits, OverLength, TooLong, check_all, numbered_from
from tunesmith.render.rendered import RenderedExamples, TokenArrays
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import Sides, TokenCache, kept_in_memory
from tunesmith.types import Example


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was checked and what will be trained on."""

    rendered: RenderedExamples
    """Of a preference pair the chosen side. A raw text may give several in a row, its windows; each has the whole text as
    its `example`."""
    rejected: RenderedExamples
    """Of preference pairs the rejected sides, in step with `rendered`; their `example` is the pair swapped. Else empty."""
    dropped: tuple[str, ...]
    """Sources of examples left out because they were over `max_length`."""
    cut: tuple[str, ...]
    """Sources of examples whose prompt was cut."""
    max_length: int
    is_from_cache: bool = False
    """The tokens were rendered and checked by an earlier run, for the same examples, template and tokenizer."""

    @property
    def num_examples(self) -> int:
        """Windows of one text count as one."""
        return int((self.rendered.arrays.window == 0).sum())

    @property
    def num_tokens(self) -> int:
        """Of both sides of a pair."""
        return sum(len(side.arrays.token_ids) for side in self._sides)

    @property
    def num_supervised(self) -> int:
        """Of both sides of a pair."""
        return sum(int(np.count_nonzero(side.arrays.supervised)) for side in self._sides)

    @property
    def _sides(self) -> tuple[RenderedExamples, ...]:
        return (self.rendered, self.rejected) if len(self.rejected) else (self.rendered,)

    def record(self) -> dict[str, Any]:
        return {
            "num_examples": self.num_examples,
            "num_windows": len(self.rendered) if self.has_windows else None,
            "num_tokens": self.num_tokens,
            "num_supervised": self.num_supervised,
            "longest": max(int(side.lengths.max()) for side in self._sides),
            "max_length": self.max_length,
            "dropped": list(self.dropped),
            "cut": list(self.cut),
        }

    def summary(self) -> str:
        """One line for the screen."""
        share = 100 * self.num_supervised / self.num_tokens
        earlier = ", as checked by an earlier run" if self.is_from_cache else ""
        return f"{self._what()}: {self.num_tokens:,} tokens, {self.num_supervised:,} supervised ({share:.0f} %){earlier}"

    def _what(self) -> str:
        if self.has_windows:
            documents = f"{self.num_examples:,} document{'' if self.num_examples == 1 else 's'}"
            return f"{documents} in {len(self.rendered):,} windows of up to {self.max_length:,} tokens"
        noun = "preference pairs" if len(self.rejected) else "examples"
        kept = f"kept {len(self.rendered):,} of {len(self.rendered) + len(self.dropped):,} {noun}"
        handled = f" ({len(self.dropped)} over {self.max_length} tokens dropped, {len(self.cut)} prompts cut)"
        return kept + (handled if self.dropped or self.cut else "")

    @property
    def has_windows(self) -> bool:
        """Some text was too long for one sequence, so what steps count are windows."""
        return bool((self.rendered.arrays.num_windows > 1).any())


def run_preflight(
    examples: Sequence[Example],
    renderer: Renderer,
    *,
    max_length: int,
    over_length: OverLength,
    split: str = "training",
    cache: TokenCache | None = None,
    processes: int | None = None,
    group: Group = ALONE,
) -> Preflight:
    """Render and check every example of a split.

    Args:
        examples: all of the split.
        renderer: the one that will serve.
        max_length: most tokens of a sequence.
        over_length: what to do about an example with more: refuse, leave it out, or cut its prompt.
        split: its name in errors.
        cache: where tokens that passed are kept for later runs; None keeps nothing.
        processes: that render; None chooses by the number of examples.
        group: whose ranks all call this with the same; with a `cache` each renders a share.

    Raises:
        AssetError: the cache cannot be written, or not all ranks see it.
        PreflightError: an example would train the wrong tokens, or is too long and `over_length` is `refuse`.
        DataError: no example is left, or preference pairs stand among examples that are none.
    """
    limits = Limits(max_length, over_length)
    found = _Found(split=split, limits=limits)
    if cache is not None and not group.is_alone:
        shared = check_by_ranks(examples, renderer, limits, cache, group, found, processes)
        return _preflight(examples, shared.tokens.sides, limits, **shared.tokens.notes, is_from_cache=shared.is_from_cache)
    cached = None if cache is None else cache.find(renderer, limits)
    if cached is not None:
        return _preflight(examples, cached.sides, limits, **cached.notes, is_from_cache=True)
    chunks = found.passing(check_all(examples, renderer, limits, processes))
    tokens = kept_in_memory(chunks, found.notes) if cache is None else cache.keep(renderer, limits, chunks, found.notes)
    return _preflight(examples, tokens.sides, limits, **tokens.notes)


def _preflight(
    examples: Sequence[Example], sides: Sides, limits: Limits, *, dropped: Sequence[str], cut: Sequence[str], **more: Any
) -> Preflight:
    rejected = sides[1] if len(sides) == 2 else TokenArrays.of((), ())
    return Preflight(
        rendered=RenderedExamples(sides[0], examples),
        rejected=RenderedExamples(rejected, examples, swapped=True),
        dropped=tuple(dropped),
        cut=tuple(cut),
        max_length=limits.max_length,
        **more,
    )


@dataclass(kw_only=True)
class _Found:
    """What speaks against the examples, gathered while their tokens go by."""

    split: str
    limits: Limits
    num_examples: int = 0
    num_pairs: int = 0
    num_kept: int = 0
    num_faulty: int = 0
    too_long: list[TooLong] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def passing(self, chunks: Iterable[CheckedChunk]) -> Iterator[Sides]:
        """The chunks' tokens as they come, their examples numbered through; after the last one, the verdict."""
        for chunk in chunks:
            first = self.num_examples
            self._add(chunk)
            yield numbered_from(first, chunk)
        self._refuse()

    def judge(self, chunks: Iterable[CheckedChunk]) -> None:
        """The verdict over chunks whose tokens are elsewhere."""
        for chunk in chunks:
            self._add(chunk)
        self._refuse()

    def _add(self, chunk: CheckedChunk) -> None:
        self.num_pairs += chunk.num_pairs
        self.num_examples += chunk.num_examples
        self._refuse_mixture()
        self.too_long += chunk.too_long
        self.faults += chunk.faults
        self.num_faulty += chunk.num_faulty
        self.num_kept += chunk.num_kept

    def notes(self) -> dict[str, list[str]]:
        """Sources of what was left out, and of what was cut."""
        sources = [one.source for one in self.too_long]
        return {
            "dropped": sources if self.limits.over_length == "drop" else [],
            "cut": sources if self.limits.over_length == "cut" else [],
        }

    def _refuse_mixture(self) -> None:
        if self.num_pairs not in (0, self.num_examples):
            raise DataError(
                f"the {self.split} split",
                f"{self.num_pairs} preference pairs among the first {self.num_examples} examples",
                expected="preference pairs alone, or none",
                remedy="prepare them as two data sets",
            )

    def _refuse(self) -> None:
        if self.too_long and self.limits.over_length == "refuse":
            raise _refuse_length(self.too_long, self.num_examples, self.limits.max_length)
        if not self.num_kept:
            raise DataError(
                f"the {self.split} split",
                f"none of {self.num_examples} examples is left ({len(self.too_long)} over {self.limits.max_length} tokens)",
                expected="at least one",
                remedy="raise --max-length or use --over-length cut" if self.num_examples else "prepare data that has some",
            )
        if self.faults:
            first = self.faults[0]
            raise PreflightError(
                first.source,
                f"{first.fault} ({self.num_faulty} of {self.num_kept} examples have a fault)",
                expected="every example to train its answer and its end-of-turn token, and nothing else",
                remedy="correct the example or the template; these are its tokens, the supervised ones between ⟦ and ⟧:\n" + first.picture,
            )


def _refuse_length(too_long: Sequence[TooLong], num_examples: int, max_length: int) -> PreflightError:
    worst = max(too_long, key=lambda one: one.longest)
    sources = ", ".join(one.source for one in too_long[:3]) + (", …" if len(too_long) > 3 else "")
    return PreflightError(
        worst.source,
        f"{worst.longest} tokens; {len(too_long)} of {num_examples} examples are too long ({sources})",
        expected=f"at most {max_length} tokens",
        remedy="raise --max-length, or choose --over-length drop (leave them out) or cut (shorten their prompts, never their answers)",
    )
