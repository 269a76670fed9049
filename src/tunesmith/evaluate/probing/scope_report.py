"""What the probe of a model's scope found: both kinds of error, base against tuned, and what to do."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.config import ScopeConfig
from tunesmith.evaluate.probing.questions import Origin
from tunesmith.evaluate.probing.rates import PairedRates, paired_rates
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.evaluate.wording import bracketed, counted, p_text

SCHEMA_VERSION = 1
Side = Literal["off-topic", "on-topic"]
ERRORS: dict[Side, str] = {"off-topic": "missed redirection", "on-topic": "needless redirection"}
ALARMING = 0.1
"""From this share of errors on something is suggested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One prompt and both answers."""

    side: Side
    origin: Origin
    source: str
    prompt: str
    base: str
    tuned: str
    base_redirects: str | None
    """Why the base model's answer counts as a redirection; None where it does not."""
    tuned_redirects: str | None

    def is_error(self, label: Literal["base", "tuned"]) -> bool:
        """Answered off the subject, or redirected on it."""
        redirects = (self.base_redirects if label == "base" else self.tuned_redirects) is not None
        return redirects == (self.side == "on-topic")


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRates:
    """One kind of error among the prompts of one origin."""

    side: Side
    origin: Origin | None
    """None for all of this side."""
    rates: PairedRates

    @property
    def title(self) -> str:
        """Of its row."""
        return f"{ERRORS[self.side]}s" if self.origin is None else f"  {self.origin}"


@dataclass(frozen=True, kw_only=True)
class ScopeReport:
    """The result."""

    run_name: str
    model_name: str
    redirections: tuple[str, ...]
    """Stock sentences learnt from the training answers."""
    num_refusals: int
    """Training answers that decline in other words."""
    num_near: int
    """General questions left out, as they are near a training prompt."""
    errors: tuple[ErrorRates, ...]
    remarks: tuple[str, ...]
    commands: tuple[str, ...]
    """What to do about it."""
    asked: tuple[Asked, ...]

    def shown(self, side: Side, count: int) -> list[Asked]:
        """Errors of the tuned model, some of each origin in turn."""
        wrong = [one for one in self.asked if one.side == side and one.is_error("tuned")]
        places: dict[str, int] = {}
        keyed = []
        for one in wrong:
            places[one.origin] = places.get(one.origin, 0) + 1
            keyed.append((places[one.origin], one))
        return [one for _, one in sorted(keyed, key=lambda pair: pair[0])[:count]]

    def summary_lines(self) -> list[str]:
        """For the terminal, below the table."""
        return [*self.remarks, *(f"to do: {command}" for command in self.commands)]

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}


def build_report(
    asked: Sequence[Asked],
    config: ScopeConfig,
    *,
    recogniser: Recogniser,
    run_name: str,
    model_name: str,
    data_directory: str,
    num_near: int,
) -> ScopeReport:
    """Count and word it."""
    errors = [rates for side in ERRORS for rates in _rates(asked, side, config.confidence)]
    whole = {one.side: one.rates for one in errors if one.origin is None}
    remarks = [_sentence(side, rates) for side, rates in whole.items()]
    commands = []
    if not recogniser.is_taught:
        remarks.append("the training data teach no redirection: no answer declines, and none stands under several different prompts")
    if num_near:
        remarks.append(f"{counted(num_near, 'general question')} left out, near a training prompt")
    if not recogniser.is_taught or _share(whole.get("off-topic")) >= ALARMING:
        commands.append(f"teach redirections: {teach_command(data_directory)}")
    if _share(whole.get("on-topic")) >= ALARMING:
        commands.append("needless redirections: add answered examples like those shown, and prepare and train again")
    return ScopeReport(
        run_name=run_name,
        model_name=model_name,
        redirections=tuple(one.text for one in recogniser.redirections),
        num_refusals=recogniser.num_refusals,
        num_near=num_near,
        errors=tuple(errors),
        remarks=tuple(remarks),
        commands=tuple(commands),
        asked=tuple(asked),
    )


def teach_command(data_directory: str) -> str:
    """The line that has a teacher make redirected examples."""
    data = shlex.quote(data_directory)
    teacher = "--teacher http://localhost:11434/v1 --teacher-model MODEL"
    return f"tunesmith synthesize redirections --scope 'WHAT IT ANSWERS' --data {data} {teacher} --out redirections"


def _rates(asked: Sequence[Asked], side: Side, confidence: float) -> list[ErrorRates]:
    """Of all prompts of the side, and of each origin where there are several."""
    ours = [one for one in asked if one.side == side]
    origins = list(dict.fromkeys(one.origin for one in ours))
    parts: list[Origin | None] = [None, *(origins if len(origins) > 1 else ())]
    found = []
    for origin in parts:
        chosen = [one for one in ours if origin in (None, one.origin)]
        rates = paired_rates([one.is_error("base") for one in chosen], [one.is_error("tuned") for one in chosen], confidence)
        found.append(ErrorRates(side=side, origin=origin, rates=rates))
    return found


def _sentence(side: Side, rates: PairedRates) -> str:
    if rates.difference is None:
        return f"{ERRORS[side]}s: nothing {side} was asked"
    change = 100 * (rates.tuned.count - rates.base.count) / rates.tuned.total
    verdict = "cannot tell yet" if rates.p_value >= 0.05 else "fewer" if change < 0 else "more"
    ends = bracketed(type(rates.difference)(*(100 * end for end in rates.difference)), 0)
    return (
        f"{ERRORS[side]}s: tuned {rates.tuned.words}, base {rates.base.words}; {change:+.0f} points {ends}, "
        f"{rates.num_gone} gone, {rates.num_new} new, McNemar {p_text(rates.p_value)}: {verdict}"
    )


def _share(rates: PairedRates | None) -> float:
    return rates.tuned.count / rates.tuned.total if rates and rates.tuned.total else 0.0
