"""Is the exported thing the same model? Its runtime's prompt tokens, greedy answers and log-probabilities against ours.

>>> found = compare(answers, runtime, tolerance=TOLERANCES["f16"], max_new_tokens=24)
>>> found.problem          # None, or the first mismatch in a sentence

Prompt tokens must be equal. An answer may part from ours only where our two likeliest tokens were nearer to each other than what the
rounding of the weights moves. Log-probabilities of our answers, token by token, must lie within the tolerance.

Weights of four bits are another model: answers may part anywhere, and are counted; log-probabilities must lie near on average, which a file
that is wrong does not come to.
"""

from __future__ import annotations

import math
import unicodedata
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

TOLERANCES: Mapping[str, float] = {"f32": 1e-3, "f16": 0.05, "bf16": 0.35, "q8_0": 0.35}
"""Nats that the log-probability of a token may be off, by the type of the exported weights; how they were chosen: docs/export.md."""
AVERAGE_TOLERANCE = 1.0
"""Nats that log-probabilities may be off on average with weights of four bits."""
TABLE_TOLERANCE = 0.02
"""At least this where the runtime keeps activations in half precision, even with weights in float32."""


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
    """Those that part from ours where they may: where our two likeliest tokens were within twice the tolerance; of four bits anywhere."""
    largest_tie: float
    """Nats between our two likeliest tokens where one of those parts, at most; 0 where none does."""
    mean_difference: float
    """Nats, of log-probabilities over all tokens of our answers."""
    largest_difference: float
    tolerance: float
    """Nats, for each token, or for the mean over all of them."""
    is_on_average: bool
    problem: str | None
    """The first mismatch; None where there is none."""

    @property
    def sentence(self) -> str:
        """For the screen and the card."""
        apart = f"our two likeliest tokens are {self.largest_tie:.2g} nats apart or less"
        ties = f" ({self.num_near_ties} part where {apart})" if self.num_near_ties else ""
        return (
            f"{self.runtime}: prompt tokens equal in {self.num_equal_prompts} of {self.num_prompts}, greedy answers equal in "
            f"{self.num_equal_answers} of {self.num_prompts}{ties}, log-probabilities off by {self.mean_difference:.2g} nats on average, "
            f"at most {self.largest_difference:.2g} (allowed {self.tolerance:g}{' on average' if self.is_on_average else ''})"
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
    limits: tuple[str, ...] = ()
    """Of GGUF: texts that its programs split otherwise, in sentences."""

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
        asked = [one.sentence for one in self.runtimes]
        return (*first, *asked, *self.not_checked, *self.limits, *([left_out] if self.num_special else []))

    def write(self, directory: Path) -> None:
        values: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "passed": self.passed, **asdict(self)}
        write_json(directory / FILE, values)


def compare(
    answers: Sequence[ReferenceAnswer], runtime: Runtime, *, tolerance: float, max_new_tokens: int, is_on_average: bool = False
) -> RuntimeParity:
    """Ask the runtime everything that we were asked."""
    equal_prompts = equal_answers = 0
    ties: list[float] = []
    differences: list[float] = []
    problems: list[str] = []
    for answer in answers:
        ids = answer.prompt.token_ids
        problem = _prompt_problem(answer, runtime.prompt_ids(answer.prompt))
        equal_prompts += problem is None
        parted = _parts_at(answer.token_ids, runtime.answer(ids, max_new_tokens))
        near = parted is not None and parted < len(answer.margins) and (is_on_average or answer.margins[parted] <= 2 * tolerance)
        equal_answers += parted is None
        if parted is not None and near:
            ties.append(answer.margins[parted])
        if parted is not None and not near:
            problem = problem or f"{answer.prompt.source}: the greedy answer is another one from token {parted + 1} on"
        found = runtime.logprobs(ids, answer.token_ids)
        off = [abs(ours - theirs) for ours, theirs in zip(answer.logprobs, found, strict=True)]
        if not is_on_average and not all(one <= tolerance for one in off):
            worst = max(off, key=lambda one: (math.isnan(one), one))
            problem = problem or f"{answer.prompt.source}: a log-probability is off by {worst:.3g} nats"
        differences += off
        problems += [problem] if problem else []
    mean = sum(differences) / max(1, len(differences))
    if is_on_average and not mean <= tolerance:
        problems.append(f"log-probabilities are off by {mean:.3g} nats on average")
    return RuntimeParity(
        runtime=runtime.name,
        num_prompts=len(answers),
        num_equal_prompts=equal_prompts,
        num_equal_answers=equal_answers,
        num_near_ties=len(ties),
        largest_tie=max(ties, default=0.0),
        mean_difference=mean,
        largest_difference=max(differences, default=0.0),
        tolerance=tolerance,
        is_on_average=is_on_average,
        problem=problems[0] if problems else None,
    )


def _prompt_problem(answer: ReferenceAnswer, found: Sequence[int]) -> str | None:
    ours = answer.prompt.token_ids
    if tuple(found) == tuple(ours):
        return None
    place = _parts_at(ours, found)
    composed = all(unicodedata.is_normalized("NFC", message.content) for message in answer.prompt.messages)
    cause = "" if composed else "; its letters and their marks are not composed (Unicode's NFC), and not every program composes them"
    numbers = f"{len(found)} to {len(ours)}"
    return f"{answer.prompt.source}: the prompt has other tokens than ours from token {(place or 0) + 1} on ({numbers}){cause}"


def _parts_at(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """First position where two sequences are not the same; None when they are equal."""
    same = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), min(len(ours), len(theirs)))
    return None if same == len(ours) == len(theirs) else same
