"""The proof, before the first step, that training would train the right thing; or a refusal.

Every example is checked on its finished tokens, by other means than the renderer used to make them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.errors import DataError, PreflightError
from tunesmith.render import picture
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example, RenderedExample

OverLength = Literal["refuse", "drop", "cut"]


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was checked and what will be trained on."""

    rendered: tuple[RenderedExample, ...]
    dropped: tuple[str, ...]
    """Sources of examples left out because they were over `max_length`."""
    max_length: int

    @property
    def num_tokens(self) -> int:
        return sum(len(r.token_ids) for r in self.rendered)

    @property
    def num_supervised(self) -> int:
        return sum(r.num_supervised for r in self.rendered)

    @property
    def cut(self) -> tuple[str, ...]:
        """Sources of examples whose prompt was cut."""
        return tuple(r.example.source for r in self.rendered if r.num_cut_tokens)

    def record(self) -> dict[str, Any]:
        return {
            "num_examples": len(self.rendered),
            "num_tokens": self.num_tokens,
            "num_supervised": self.num_supervised,
            "longest": max(len(r.token_ids) for r in self.rendered),
            "max_length": self.max_length,
            "dropped": list(self.dropped),
            "cut": list(self.cut),
        }

    def summary(self) -> str:
        """One line for the screen."""
        kept = f"kept {len(self.rendered):,} of {len(self.rendered) + len(self.dropped):,} examples"
        handled = f" ({len(self.dropped)} over {self.max_length} tokens dropped, {len(self.cut)} prompts cut)"
        share = 100 * self.num_supervised / self.num_tokens
        counts = f"{self.num_tokens:,} tokens, {self.num_supervised:,} supervised ({share:.0f} %)"
        return kept + (handled if self.dropped or self.cut else "") + f": {counts}"


def run_preflight(
    examples: Sequence[Example], renderer: Renderer, *, max_length: int, over_length: OverLength, split: str = "training"
) -> Preflight:
    """Render and check every example of a split.

    Raises:
        PreflightError: an example would train the wrong tokens, or is too long and `over_length` is `refuse`.
        DataError: no example is left.
    """
    whole = [renderer.render(example) for example in examples]
    too_long = [r for r in whole if len(r.token_ids) > max_length]
    if too_long and over_length == "refuse":
        raise _refuse_length(too_long, len(whole), max_length)
    dropped = tuple(r.example.source for r in too_long) if over_length == "drop" else ()
    rendered = tuple(
        r if len(r.token_ids) <= max_length else renderer.fit(r.example, max_length)
        for r in whole
        if over_length == "cut" or len(r.token_ids) <= max_length
    )
    if not rendered:
        raise DataError(
            f"the {split} split",
            f"none of {len(whole)} examples is left ({len(dropped)} over {max_length} tokens)",
            expected="at least one",
            remedy="raise --max-length or use --over-length cut" if whole else "prepare data that has some",
        )
    _refuse_faults(rendered, renderer, max_length)
    return Preflight(rendered=rendered, dropped=dropped, max_length=max_length)


def _refuse_length(too_long: Sequence[RenderedExample], num_examples: int, max_length: int) -> PreflightError:
    worst = max(too_long, key=lambda r: len(r.token_ids))
    sources = ", ".join(r.example.source for r in too_long[:3]) + (", …" if len(too_long) > 3 else "")
    return PreflightError(
        worst.example.source,
        f"{len(worst.token_ids)} tokens; {len(too_long)} of {num_examples} examples are too long ({sources})",
        expected=f"at most {max_length} tokens",
        remedy="raise --max-length, or choose --over-length drop (leave them out) or cut (shorten their prompts, never their answers)",
    )


def _refuse_faults(rendered: Sequence[RenderedExample], renderer: Renderer, max_length: int) -> None:
    faults = [(r, fault) for r in rendered if (fault := find_fault(r, renderer, max_length))]
    if not faults:
        return
    first, fault = faults[0]
    raise PreflightError(
        first.example.source,
        f"{fault} ({len(faults)} of {len(rendered)} examples have a fault)",
        expected="every example to train its answer and its end-of-turn token, and nothing else",
        remedy="correct the example or the template; these are its tokens, the supervised ones between ⟦ and ⟧:\n"
        + picture.plain(first, renderer),
    )


def find_fault(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    """The first fault of an example's tokens, in words; None when it is sound."""
    return next((fault for check in CHECKS if (fault := check(rendered, renderer, max_length))), None)


def _check_supervised(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del renderer, max_length
    return None if any(rendered.supervised[1:]) else "no token is supervised"  # nothing predicts the first one


def _check_length(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del renderer
    return None if len(rendered.token_ids) <= max_length else f"{len(rendered.token_ids)} tokens, over {max_length}"


def _check_ending(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del max_length
    last = rendered.token_ids[-1]
    if last not in renderer.stop_ids:
        return f"it ends in {renderer.decode([last])!r}, not in an end-of-turn token: the model would never learn to stop"
    return None if rendered.supervised[-1] else "its end-of-turn token is not supervised: the model would never learn to stop"


def _check_bos(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del max_length
    if renderer.bos_id is None:
        return None
    count = rendered.token_ids.count(renderer.bos_id)
    if count != 1 or rendered.token_ids[0] != renderer.bos_id:
        return f"{count} beginning-of-sequence tokens where the model wants exactly one, first"
    return None


def _check_prompt(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    del max_length
    if rendered.example.text is not None or rendered.num_cut_tokens:
        return None  # raw text has no prompt; a cut prompt was rendered by the same function that serving cuts with
    prompt = renderer.prompt_ids(rendered.example.prompt_messages, rendered.example.fields)
    if rendered.token_ids[: len(prompt)] != prompt:
        return "its prompt has other tokens than the same prompt has in generation"
    if rendered.supervised[len(prompt) - 1 if prompt else 0]:
        return "the end of its prompt is supervised"
    return None


def _check_answer(rendered: RenderedExample, renderer: Renderer, max_length: int) -> str | None:
    """Decode what trains and compare it with what the user's file says."""
    del max_length
    example = rendered.example
    answers = [m.content for m in example.messages if m.role == "assistant"] if example.messages else [example.text or ""]
    trained = renderer.decode([t for t, s in zip(rendered.token_ids, rendered.supervised, strict=True) if s])
    ending = renderer.decode([renderer.end_of_turn_id])
    expected = "".join(answer.strip() + ending for answer in answers)
    if _comparable(trained) != _comparable(expected):
        return f"what would be trained is not its answer but {trained[:80]!r}"
    return None


def _comparable(text: str) -> str:
    """Equal for texts that differ only in what tokenizers and chat templates may normalise."""
    return "".join(unicodedata.normalize("NFKC", text).split())


Check = Callable[[RenderedExample, Renderer, int], str | None]

CHECKS: tuple[Check, ...] = (_check_supervised, _check_length, _check_ending, _check_bos, _check_prompt, _check_answer)
"""In the order in which a person would want to hear of them."""
