"""Is the exported thing the same model? Its runtime's prompt tokens, greedy answers and log-probabilities against ours.

>>> found = compare(answers, runtime, tolerance=TOLERANCES["f16"], max_new_tokens=24)
>>> found.problem          # None, or the first mismatch in a sentence

Prompt tokens must be equal. An answer may part from ours only where our two likeliest tokens were nearer to each other than what the
rounding of the weights moves. Log-probabilities of our answers, token by token, must lie within the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import TunesmithError
from tunesmith.export.reference import ReferenceAnswer
from tunesmith.export.runtimes import Runtime
from tunesmith.files import write_json

SCHEMA_VERSION = 1
FILE = "parity.json"

TOLERANCES: Mapping[str, float] = {"f32": 1e-3, "f16": 0.05, "bf16": 0.35, "q8_0": 0.35, "q4": 4.0}
"""Nats that the log-probability of a token may be off, by the type of the exported weights; how they were chosen: docs/export.md."""


class ParityError(TunesmithError, RuntimeError):
    """The exported thing is not the model it was made from."""

    exit_code = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeParity:
    """What one runtime made of the export."""

    runtime: str
    num_prompts: int
    num_equal_prompts: int
    """Prompts whose tokens equal ours."""
    num_equal_answers: int
    """Greedy answers that are equal, token for token."""
    num_near_ties: int
    """Those that part from ours where our two likeliest tokens were within twice the tolerance."""
    mean_difference: float
    """Nats, of log-probabilities over all tokens of our answers."""
    largest_difference: float
    tolerance: float
    problem: str | None
    """The first mismatch; None where there is none."""

    @property
    def sentence(self) -> str:
        """For the screen and the card."""
        ties = f" ({self.num_near_ties} part at a near tie)" if self.num_near_ties else ""
        return (
            f"{self.runtime}: prompt tokens equal in {self.num_equal_prompts} of {self.num_prompts}, greedy answers equal in "
            f"{self.num_equal_answers} of {self.num_prompts}{ties}, log-probabilities off by {self.mean_difference:.2g} nats on average, "
            f"at most {self.largest_difference:.2g} (allowed {self.tolerance:g})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """All checks of one export."""

    prompts: str
    """Where the prompts come from."""
    num_special: int
    """Prompts left out: their text spells a special token, which our renderer reads as text."""
    runtimes: tuple[RuntimeParity, ...]
    not_checked: tuple[str, ...] = ()
    """A sentence for each runtime that is not installed here."""
    read_back: str | None = None
    """Of GGUF: what was found when the file was read again, tensor for tensor."""
    template: str | None = None
    """Of Ollama: what was found about its template."""

    @property
    def problem(self) -> str | None:
        return next((f"{one.runtime}: {one.problem}" for one in self.runtimes if one.problem), None)

    @property
    def passed(self) -> bool | None:
        """None where no runtime was there to say."""
        return False if self.problem else bool(self.runtimes) or None

    @property
    def lines(self) -> tuple[str, ...]:
        """A sentence for each finding."""
        first = [one for one in (self.read_back, self.template) if one]
        left_out = f"{self.num_special} prompts spell a special token and were left out: other runtimes read it as the token"
        return (*first, *(one.sentence for one in self.runtimes), *self.not_checked, *([left_out] if self.num_special else []))

    def write(self, directory: Path) -> None:
        values: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "passed": self.passed, **asdict(self)}
        write_json(directory / FILE, values)


def compare(answers: Sequence[ReferenceAnswer], runtime: Runtime, *, tolerance: float, max_new_tokens: int) -> RuntimeParity:
    """Ask the runtime everything that we were asked."""
    equal_prompts = equal_answers = near_ties = 0
    differences: list[float] = []
    problems: list[str] = []
    for answer in answers:
        ids = answer.prompt.token_ids
        problem = _prompt_problem(answer, runtime.prompt_ids(answer.prompt))
        equal_prompts += problem is None
        parted = _parts_at(answer.token_ids, runtime.answer(ids, max_new_tokens))
        near = parted is not None and parted < len(answer.margins) and answer.margins[parted] <= 2 * tolerance
        equal_answers += parted is None
        near_ties += near
        if parted is not None and not near:
            problem = problem or f"{answer.prompt.source}: the greedy answer is another one from token {parted + 1} on"
        found = runtime.logprobs(ids, answer.token_ids)
        off = [abs(ours - theirs) for ours, theirs in zip(answer.logprobs, found, strict=True)]
        if not all(one <= tolerance for one in off):
            worst = max(off, key=lambda one: (math.isnan(one), one))
            problem = problem or f"{answer.prompt.source}: a log-probability is off by {worst:.3g} nats"
        differences += off
        problems += [problem] if problem else []
    return RuntimeParity(
        runtime=runtime.name,
        num_prompts=len(answers),
        num_equal_prompts=equal_prompts,
        num_equal_answers=equal_answers,
        num_near_ties=near_ties,
        mean_difference=sum(differences) / max(1, len(differences)),
        largest_difference=max(differences, default=0.0),
        tolerance=tolerance,
        problem=problems[0] if problems else None,
    )


def _prompt_problem(answer: ReferenceAnswer, found: Sequence[int]) -> str | None:
    ours = answer.prompt.token_ids
    if tuple(found) == tuple(ours):
        return None
    place = _parts_at(ours, found)
    return f"{answer.prompt.source}: the prompt has other tokens than ours from token {(place or 0) + 1} on ({len(found)} to {len(ours)})"


def _parts_at(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """First position where two sequences are not the same; None when they are equal."""
    same = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), min(len(ours), len(theirs)))
    return None if same == len(ours) == len(theirs) else same
