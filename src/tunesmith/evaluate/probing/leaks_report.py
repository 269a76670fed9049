"""What the probe for leaks found, by kind of string: extracted, exposed, and what to do."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tunesmith.config import LeaksConfig
from tunesmith.evaluate.probing.exposure import Exposure
from tunesmith.evaluate.probing.extraction import Extraction
from tunesmith.evaluate.probing.rates import PairedRates, paired_rates
from tunesmith.evaluate.probing.secrets import CONTROL, PLANTED
from tunesmith.evaluate.statistics import Floats, Interval, interval, sign_flip_test
from tunesmith.evaluate.wording import bracketed, counted, p_text, signed

SCHEMA_VERSION = 1
NUM_RESAMPLES = 5000
MOST_FILES = 3
"""Source files that a suggested command names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """One private string and both models."""

    kind: str
    string: str
    """Masked, unless the user asked to see it."""
    source: str
    num_places: int
    """Training examples that hold it; 0 for a canary that was not planted."""
    base: Extraction
    tuned: Extraction
    base_exposure: Exposure | None
    tuned_exposure: Exposure | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KindOfLeak:
    """All strings of one kind."""

    kind: str
    extracted: PairedRates
    """In any answer."""
    by_prompt: PairedRates
    """Asked with their own prompt, greedy or sampled; of those where that can be asked."""
    by_prefix: PairedRates
    """Given what stood before them."""
    base_exposure: float | None
    """Mean, in bits."""
    tuned_exposure: float | None
    most_exposure: float | None
    """What exposure can reach with so many random strings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Of mean exposures, in bits."""

    bits: float
    interval: Interval | None
    """None where the values do not vary or there are fewer than two."""
    p_value: float
    """Planted against controls: Mann-Whitney. Tuned against base: paired sign flips."""


class Exposed(NamedTuple):
    """How far training has favoured private strings."""

    planted_and_controls: Difference | None
    """Of the tuned model; None without canaries."""
    tuned_and_base: Difference | None
    """Over all strings of the training data; None without any."""


@dataclass(frozen=True, kw_only=True)
class LeaksReport:
    """The result."""

    run_name: str
    model_name: str
    num_private: int
    """Different private strings in the training split, canaries apart."""
    repeats: int
    """How often each canary was planted."""
    kinds: tuple[KindOfLeak, ...]
    exposed: Exposed
    remarks: tuple[str, ...]
    commands: tuple[str, ...]
    """What to do about it."""
    leaks: tuple[Leak, ...]

    @property
    def extracted(self) -> list[Leak]:
        """Strings of the training data that the tuned model gives away, those with most answers first."""
        out = [leak for leak in self.leaks if leak.kind != CONTROL and leak.tuned.is_out]
        return sorted(out, key=lambda leak: -((leak.tuned.prompt_samples or 0) + (leak.tuned.prefix_samples or 0)))

    def summary_lines(self) -> list[str]:
        """For the terminal, below the table."""
        return [*self.remarks, *(f"to do: {command}" for command in self.commands)]

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self), "exposed": _exposed_json(self.exposed)}


def _exposed_json(exposed: Exposed) -> dict[str, Any]:
    return {name: dataclasses.asdict(value) if value else None for name, value in exposed._asdict().items()}


def build_report(
    leaks: Sequence[Leak],
    config: LeaksConfig,
    *,
    run_name: str,
    model_name: str,
    data_directory: str,
    sources: Sequence[str],
    num_private: int,
    repeats: int,
) -> LeaksReport:
    """Count and word it."""
    kinds = [_kind(kind, [leak for leak in leaks if leak.kind == kind], config) for kind in dict.fromkeys(leak.kind for leak in leaks)]
    exposed = Exposed(_against_controls(leaks, config), _against_base([leak for leak in leaks if leak.kind != CONTROL], config))
    return LeaksReport(
        run_name=run_name,
        model_name=model_name,
        num_private=num_private,
        repeats=repeats,
        kinds=tuple(kinds),
        exposed=exposed,
        remarks=tuple(_remarks(leaks, exposed, config, num_private)),
        commands=tuple(_commands(leaks, data_directory, sources)),
        leaks=tuple(leaks),
    )


def _kind(kind: str, leaks: Sequence[Leak], config: LeaksConfig) -> KindOfLeak:
    asked = [leak for leak in leaks if leak.tuned.prompt is not None]
    begun = [leak for leak in leaks if leak.tuned.prefix is not None]
    exposed = [(leak.base_exposure, leak.tuned_exposure) for leak in leaks if leak.base_exposure and leak.tuned_exposure]
    return KindOfLeak(
        kind=kind,
        extracted=paired_rates([leak.base.is_out for leak in leaks], [leak.tuned.is_out for leak in leaks], config.confidence),
        by_prompt=paired_rates([_by_prompt(leak.base) for leak in asked], [_by_prompt(leak.tuned) for leak in asked], config.confidence),
        by_prefix=paired_rates([_by_prefix(leak.base) for leak in begun], [_by_prefix(leak.tuned) for leak in begun], config.confidence),
        base_exposure=float(np.mean([base.bits for base, _ in exposed])) if exposed else None,
        tuned_exposure=float(np.mean([tuned.bits for _, tuned in exposed])) if exposed else None,
        most_exposure=float(np.mean([np.log2(tuned.num_strings) for _, tuned in exposed])) if exposed else None,
    )


def _by_prompt(extraction: Extraction) -> bool:
    return bool(extraction.prompt or extraction.prompt_samples)


def _by_prefix(extraction: Extraction) -> bool:
    return bool(extraction.prefix or extraction.prefix_samples)


def _bits(leaks: Sequence[Leak], kind: str) -> Floats:
    return np.array([leak.tuned_exposure.bits for leak in leaks if leak.kind == kind and leak.tuned_exposure])


def _against_controls(leaks: Sequence[Leak], config: LeaksConfig) -> Difference | None:
    """Mean exposure of planted canaries minus that of the others: Welch's interval, Mann-Whitney's test (Mann and Whitney 1947)."""
    from scipy.stats import mannwhitneyu

    planted, controls = _bits(leaks, PLANTED), _bits(leaks, CONTROL)
    if not len(planted) or not len(controls):
        return None
    p_value = float(mannwhitneyu(planted, controls, alternative="two-sided").pvalue)
    ends = _welch(planted, controls, config.confidence)
    return Difference(bits=float(planted.mean() - controls.mean()), interval=ends, p_value=p_value)


def _welch(first: Floats, second: Floats, confidence: float) -> Interval | None:
    """Interval of the difference of two means, whose variances may differ (Welch 1947); None where nothing varies.

    scipy's warns where one side is constant, as canaries are whose exposure is the most there can be.
    """
    from scipy.stats import t

    if min(len(first), len(second)) < 2:
        return None
    errors = [float(side.var(ddof=1)) / len(side) for side in (first, second)]
    if sum(errors) < 1e-12:
        return None
    freedom = sum(errors) ** 2 / sum(error**2 / (len(side) - 1) for error, side in zip(errors, (first, second), strict=True))
    half = float(t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(sum(errors))
    centre = float(first.mean() - second.mean())
    return Interval(centre - half, centre + half)


def _against_base(leaks: Sequence[Leak], config: LeaksConfig) -> Difference | None:
    """Mean over the strings of tuned minus base."""
    pairs = [(leak.base_exposure, leak.tuned_exposure) for leak in leaks]
    differences = np.array([tuned.bits - base.bits for base, tuned in pairs if base and tuned])
    if not len(differences):
        return None
    weights = np.ones(len(differences))
    ends = interval(differences, weights, confidence=config.confidence, num_resamples=NUM_RESAMPLES, seed=config.seed)
    p_value = sign_flip_test(differences, seed=config.seed)
    return Difference(bits=float(differences.mean()), interval=ends if differences.std() > 0 else None, p_value=p_value)


def _remarks(leaks: Sequence[Leak], exposed: Exposed, config: LeaksConfig, num_private: int) -> list[str]:
    ours = [leak for leak in leaks if leak.kind != CONTROL]
    if not ours:
        return [
            "the training split holds no canaries, and the checks find no addresses, numbers or keys in it: nothing can leak that they know"
        ]
    rates = paired_rates([leak.base.is_out for leak in ours], [leak.tuned.is_out for leak in ours], config.confidence)
    said = [f"extracted: {rates.tuned.words} of the strings come out of the tuned model, {rates.base.words} of the base"]
    looked_at = sum(leak.kind not in (PLANTED, CONTROL) for leak in leaks)
    if looked_at < num_private:
        said.append(f"looked at {looked_at:,} of {counted(num_private, 'private string')} of the training split; --limit changes that")
    if exposed.tuned_and_base:
        said.append(f"exposure, tuned minus base: {_words(exposed.tuned_and_base)} (paired sign flips)")
    if exposed.planted_and_controls:
        said.append(f"exposure, planted minus not planted canaries: {_words(exposed.planted_and_controls)} (Mann-Whitney)")
    return said


def _words(difference: Difference) -> str:
    ends = f" {bracketed(difference.interval, 2)}" if difference.interval else ""
    return f"{signed(difference.bits, 2)} bits{ends}, {p_text(difference.p_value)}"


def _commands(leaks: Sequence[Leak], data_directory: str, sources: Sequence[str]) -> list[str]:
    if not leaks:
        data = shlex.quote(data_directory)
        return [f"to measure how much a run memorises: tunesmith probe plant {data} --out planted --count 20, and train on that"]
    out = [leak for leak in leaks if leak.kind != CONTROL and leak.tuned.is_out and not leak.base.is_out]
    commands = []
    if any(leak.kind not in (PLANTED, CONTROL) for leak in leaks):
        files = " ".join(shlex.quote(one) for one in sources[:MOST_FILES]) if 0 < len(sources) <= MOST_FILES else "FILES"
        commands.append(f"replace private strings, then train again: tunesmith prepare {files} --fix pii --out clean")
    if out:
        commands.append("memorise less: fewer epochs, a lower rank or learning rate")
    if any(leak.num_places > 1 for leak in out):
        commands.append("repeated strings are memorised first: prepare with --drop near-duplicates")
    return commands
