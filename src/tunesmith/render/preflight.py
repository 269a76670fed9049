"""The proof, before the first step, that training would train the right thing; or a refusal.

Every example is checked on its finished tokens (see checks.py). Of a preference pair both answers are, and that they follow
the same prompt; a raw text longer than a training sequence becomes windows, which are checked together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.errors import DataError, PreflightError
from tunesmith.render import picture
from tunesmith.render.checks import find_fault_of_all
from tunesmith.render.renderer import Renderer
from tunesmith.render.windows import cut_into_windows
from tunesmith.types import Example, RenderedExample

OverLength = Literal["refuse", "drop", "cut"]
Renderings = tuple[RenderedExample, ...]
"""Of one example: one; or the chosen and the rejected side of a preference pair; or the windows of a raw text."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was checked and what will be trained on."""

    rendered: tuple[RenderedExample, ...]
    """Of a preference pair the chosen side. A raw text may give several in a row, its windows; each has the whole text as
    its `example`."""
    rejected: tuple[RenderedExample, ...] = ()
    """Of preference pairs the rejected sides, in step with `rendered`; their `example` is the pair swapped. Else empty."""
    dropped: tuple[str, ...]
    """Sources of examples left out because they were over `max_length`."""
    max_length: int

    @property
    def num_examples(self) -> int:
        """Windows of one text count as one."""
        return sum(r.window == 0 for r in self.rendered)

    @property
    def num_tokens(self) -> int:
        """Of both sides of a pair."""
        return sum(len(r.token_ids) for r in (*self.rendered, *self.rejected))

    @property
    def num_supervised(self) -> int:
        """Of both sides of a pair."""
        return sum(r.num_supervised for r in (*self.rendered, *self.rejected))

    @property
    def cut(self) -> tuple[str, ...]:
        """Sources of examples whose prompt was cut."""
        return tuple(r.example.source for r in self.rendered if r.num_cut_tokens)

    def record(self) -> dict[str, Any]:
        return {
            "num_examples": self.num_examples,
            "num_windows": len(self.rendered) if self.has_windows else None,
            "num_tokens": self.num_tokens,
            "num_supervised": self.num_supervised,
            "longest": max(len(r.token_ids) for r in (*self.rendered, *self.rejected)),
            "max_length": self.max_length,
            "dropped": list(self.dropped),
            "cut": list(self.cut),
        }

    def summary(self) -> str:
        """One line for the screen."""
        share = 100 * self.num_supervised / self.num_tokens
        return f"{self._what()}: {self.num_tokens:,} tokens, {self.num_supervised:,} supervised ({share:.0f} %)"

    def _what(self) -> str:
        if self.has_windows:
            documents = f"{self.num_examples:,} document{'' if self.num_examples == 1 else 's'}"
            return f"{documents} in {len(self.rendered):,} windows of up to {self.max_length:,} tokens"
        noun = "preference pairs" if self.rejected else "examples"
        kept = f"kept {len(self.rendered):,} of {len(self.rendered) + len(self.dropped):,} {noun}"
        handled = f" ({len(self.dropped)} over {self.max_length} tokens dropped, {len(self.cut)} prompts cut)"
        return kept + (handled if self.dropped or self.cut else "")

    @property
    def has_windows(self) -> bool:
        """Some text was too long for one sequence, so what steps count are windows."""
        return any(r.num_windows > 1 for r in self.rendered)


def run_preflight(
    examples: Sequence[Example], renderer: Renderer, *, max_length: int, over_length: OverLength, split: str = "training"
) -> Preflight:
    """Render and check every example of a split.

    Raises:
        PreflightError: an example would train the wrong tokens, or is too long and `over_length` is `refuse`.
        DataError: no example is left, or preference pairs stand among examples that are none.
    """
    _refuse_mixture(examples, split)
    whole = [render_all(example, renderer, max_length) for example in examples]
    too_long = [renderings for renderings in whole if _longest(renderings) > max_length]
    if too_long and over_length == "refuse":
        raise _refuse_length(too_long, len(whole), max_length)
    dropped = tuple(renderings[0].example.source for renderings in too_long) if over_length == "drop" else ()
    kept = [
        renderings if _longest(renderings) <= max_length else tuple(renderer.fit(side.example, max_length) for side in renderings)
        for renderings in whole
        if over_length == "cut" or _longest(renderings) <= max_length
    ]
    if not kept:
        raise DataError(
            f"the {split} split",
            f"none of {len(whole)} examples is left ({len(dropped)} over {max_length} tokens)",
            expected="at least one",
            remedy="raise --max-length or use --over-length cut" if whole else "prepare data that has some",
        )
    _refuse_faults(kept, renderer, max_length)
    return _preflight(kept, dropped, max_length)


def render_all(example: Example, renderer: Renderer, max_length: int) -> Renderings:
    """Every token sequence that an example trains on: both sides of a preference pair, all windows of a raw text."""
    if example.kind == "pair":
        return renderer.render(example), renderer.render(example.swapped())
    if example.kind == "text":
        return cut_into_windows(renderer.render(example), max_length, renderer.bos_id)
    return (renderer.render(example),)


def _preflight(kept: Sequence[Renderings], dropped: tuple[str, ...], max_length: int) -> Preflight:
    if kept[0][0].example.kind == "pair":
        chosen, rejected = zip(*kept, strict=True)
        return Preflight(rendered=chosen, rejected=rejected, dropped=dropped, max_length=max_length)
    return Preflight(rendered=tuple(r for renderings in kept for r in renderings), dropped=dropped, max_length=max_length)


def _longest(renderings: Renderings) -> int:
    return max(len(rendered.token_ids) for rendered in renderings)


def _refuse_mixture(examples: Sequence[Example], split: str) -> None:
    pairs = sum(example.kind == "pair" for example in examples)
    if pairs not in (0, len(examples)):
        raise DataError(
            f"the {split} split",
            f"{pairs} preference pairs among {len(examples)} examples",
            expected="preference pairs alone, or none",
            remedy="prepare them as two data sets",
        )


def _refuse_length(too_long: Sequence[Renderings], num_examples: int, max_length: int) -> PreflightError:
    worst = max(too_long, key=_longest)
    sources = ", ".join(one[0].example.source for one in too_long[:3]) + (", …" if len(too_long) > 3 else "")
    return PreflightError(
        worst[0].example.source,
        f"{_longest(worst)} tokens; {len(too_long)} of {num_examples} examples are too long ({sources})",
        expected=f"at most {max_length} tokens",
        remedy="raise --max-length, or choose --over-length drop (leave them out) or cut (shorten their prompts, never their answers)",
    )


def _refuse_faults(kept: Sequence[Renderings], renderer: Renderer, max_length: int) -> None:
    faults = [found for renderings in kept if (found := find_fault_of_all(renderings, renderer, max_length))]
    if not faults:
        return
    first, fault = faults[0]
    raise PreflightError(
        first.example.source,
        f"{fault} ({len(faults)} of {len(kept)} examples have a fault)",
        expected="every example to train its answer and its end-of-turn token, and nothing else",
        remedy="correct the example or the template; these are its tokens, the supervised ones between ⟦ and ⟧:\n"
        + picture.plain(first, renderer),
    )
