"""From a few measured micro-batches to the time and memory of a run: arithmetic only.

    >>> forecast = make_forecast(measured, workload, room)
    >>> forecast.sentence()
    'about 12 min (10 to 15), peak memory 2.6 GB of 16 GB that there are'

Time is linear: a micro-batch takes `overhead + per_token * tokens` seconds, an update a constant, a validation the forward
share of a micro-batch's time. The range: at best every micro-batch is as quick as the measured ones were when repeated, at
worst every one meets lengths of its own and is as slow as they were the first time; and both wander by `WANDER`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

WANDER = 0.1
"""By how much the speed of one machine differs from hour to hour (docs/performance.md: figures wander by some ten per cent)."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One micro-batch, forward and backward."""

    tokens: int
    first_seconds: float
    """The first time: kernels for its lengths are compiled on the way."""
    seconds: float
    """Repeated; the same as the first where that took too long to repeat."""
    peak_bytes: int
    """Most memory in use meanwhile, all of the process counted."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured before the run."""

    short: Measured
    typical: Measured
    worst: Measured
    base_bytes: int
    """Memory in use before the first micro-batch."""
    earlier_peak_bytes: int
    """Most memory in use until then: loading took it."""
    update_seconds: float
    """One optimiser update, on copies."""
    seconds: float
    """What all of this took."""
    worst_is_reckoned: bool = False
    """The worst one would not fit: its figures are those of the smaller ones, extended."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a run has to do."""

    step_tokens: tuple[int, ...]
    """Of every planned step."""
    tokens_per_micro_batch: int
    num_steps_per_epoch: float
    validation_tokens: int
    validate_every: int
    """Steps."""
    reference_tokens: int
    """What the starting network is asked about before step 1 (DPO, KTO)."""
    forward_share: float
    """Of the operations of a micro-batch, those of the forward pass."""
    weights_bytes: int
    """Of the network as it computes."""
    masters_bytes: int
    """float32 copies of the trained weights, where the network computes in another type."""
    gradient_bytes: int
    moments_bytes: int
    """Of the optimiser; allocated by the first update."""
    writing_bytes: int = 0
    """What writing the finished model loads on top of weights, masters and moments."""

    def num_micro_batches(self, tokens: int) -> int:
        """Of a step with so many tokens, as even as can be."""
        return max(1, math.ceil(tokens / self.tokens_per_micro_batch))


@dataclass(frozen=True, kw_only=True)
class Range:
    """An expected value and where it may end up."""

    low: float
    expected: float
    high: float

    def scaled(self, factor: float) -> Range:
        return Range(low=factor * self.low, expected=factor * self.expected, high=factor * self.high)

    def __add__(self, other: Range) -> Range:
        return Range(low=self.low + other.low, expected=self.expected + other.expected, high=self.high + other.high)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Time and peak memory of a run."""

    measurement: Measurement
    num_steps: int
    num_validations: int
    step_seconds: Range
    """A mean step, its update included."""
    epoch_seconds: Range
    """One pass over the training split, validations included."""
    validation_seconds: Range
    """One validation."""
    seconds: Range
    """In all; an early stop makes it shorter."""
    peak_bytes: int
    room_bytes: int
    """Most that the process (on a GPU: all of it) could use."""
    parts: dict[str, int] = field(default_factory=dict)
    """What the peak is made of, in bytes."""

    def sentence(self) -> str:
        """One line, before step 1."""
        return (
            f"about {range_in_words(self.seconds)}, peak memory {gigabytes(self.peak_bytes)} of {gigabytes(self.room_bytes)} that there are"
        )

    def seconds_for(self, num_steps: int, num_validations: int) -> float:
        """Expected, for a run that ended early."""
        return num_steps * self.step_seconds.expected + num_validations * self.validation_seconds.expected

    def record(self) -> dict[str, Any]:
        """For `run.json` and `--json`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Forecast:
        """What `record` gave."""
        measurement = dict(record["measurement"])
        for name in ("short", "typical", "worst"):
            measurement[name] = Measured(**measurement[name])
        ranges = {name: Range(**record[name]) for name in ("step_seconds", "epoch_seconds", "validation_seconds", "seconds")}
        return cls(**{**record, **ranges, "measurement": Measurement(**measurement)})


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds of a micro-batch: `overhead + per_token * tokens`, when its lengths are known to the kernels."""

    overhead: float
    per_token: float
    first_factor: float
    """How many times longer it takes when its lengths are new: of the worst micro-batch, by which time all libraries are awake."""

    def step(self, tokens: int, micro_batches: int) -> float:
        return micro_batches * self.overhead + tokens * self.per_token


def fit_speed(measurement: Measurement) -> Speed:
    """A line through the typical micro-batch, as steep as from the short one to the worst, never with a negative overhead."""
    short, typical, worst = measurement.short, measurement.typical, measurement.worst
    mean = typical.seconds / typical.tokens
    span = worst.tokens - short.tokens
    slope = (worst.seconds - short.seconds) / span if span > 0 else mean
    per_token = min(mean, max(0.0, slope))
    overhead = typical.seconds - per_token * typical.tokens
    return Speed(overhead=overhead, per_token=per_token, first_factor=max(1.0, worst.first_seconds / worst.seconds))


def make_forecast(measurement: Measurement, workload: Workload, room_bytes: int) -> Forecast:
    """Add up every planned step."""
    speed = fit_speed(measurement)
    tokens = workload.step_tokens
    num_steps = len(tokens)
    micro_batches = sum(speed.step(t, workload.num_micro_batches(t)) for t in tokens)
    updates = num_steps * measurement.update_seconds
    new_share = len(set(tokens)) / num_steps  # a length met before finds its kernels compiled
    validation, reference = (
        workload.forward_share * speed.step(t, workload.num_micro_batches(t)) if t else 0.0
        for t in (workload.validation_tokens, workload.reference_tokens)
    )
    num_validations = math.ceil(num_steps / workload.validate_every) if workload.validation_tokens else 0
    steps = _range(micro_batches, updates, speed, new_share)
    one_validation = _range(validation, 0.0, speed, 0.0)
    loop = steps + one_validation.scaled(num_validations)
    return Forecast(
        measurement=measurement,
        num_steps=num_steps,
        num_validations=num_validations,
        step_seconds=steps.scaled(1 / num_steps),
        epoch_seconds=loop.scaled(workload.num_steps_per_epoch / num_steps),
        validation_seconds=one_validation,
        seconds=loop + _range(reference, 0.0, speed, 0.0),
        peak_bytes=peak_bytes(measurement, workload),
        room_bytes=room_bytes,
        parts=memory_parts(measurement, workload),
    )


def _range(warm: float, constant: float, speed: Speed, new_share: float) -> Range:
    expected = warm * (1 + new_share * (speed.first_factor - 1)) + constant
    return Range(low=(1 - WANDER) * (warm + constant), expected=expected, high=(1 + WANDER) * (warm * speed.first_factor + constant))


def peak_bytes(measurement: Measurement, workload: Workload) -> int:
    """The most of: what loading took, the worst micro-batch with the optimiser's moments, writing the model."""
    training = measurement.worst.peak_bytes + workload.moments_bytes
    writing = measurement.base_bytes + workload.moments_bytes + workload.writing_bytes
    return max(measurement.earlier_peak_bytes, training, writing)


def memory_parts(measurement: Measurement, workload: Workload) -> dict[str, int]:
    """What the worst moment of a step is made of. Activations are measured, weights and moments counted."""
    counted = workload.weights_bytes + workload.masters_bytes
    return {
        "weights": workload.weights_bytes,
        "masters, gradients and optimiser": workload.masters_bytes + workload.gradient_bytes + workload.moments_bytes,
        "activations of the worst micro-batch": max(0, measurement.worst.peak_bytes - measurement.base_bytes - workload.gradient_bytes),
        "python, libraries and data": max(0, measurement.base_bytes - counted),
    }


def compare(forecast: Forecast, *, seconds: float, peak: int, num_steps: int, num_validations: int) -> dict[str, Any]:
    """The forecast's own error, for the manifest: how far off what was expected, as a share of what was."""
    expected = forecast.seconds_for(num_steps, num_validations)
    return {
        "estimated_seconds": expected,
        "seconds": seconds,
        "seconds_error": expected / seconds - 1,
        "estimated_peak_bytes": forecast.peak_bytes,
        "peak_bytes": peak,
        "peak_error": forecast.peak_bytes / peak - 1,
    }


def comparison_sentence(error: dict[str, Any]) -> str:
    """`estimated 12.1 min and 2.60 GB, took 11.8 min and 2.50 GB (+3 %, +4 %)`."""
    return (
        f"estimated {in_words(error['estimated_seconds'])} and {gigabytes(error['estimated_peak_bytes'])}, "
        f"took {in_words(error['seconds'])} and {gigabytes(error['peak_bytes'])} "
        f"({100 * error['seconds_error']:+.0f} %, {100 * error['peak_error']:+.0f} %)"
    )


def in_words(seconds: float) -> str:
    """`4.2 s`, `40 s`, `12.1 min`, `2.3 h`."""
    number, unit = _in_unit(seconds, seconds)
    return f"{number} {unit}"


def range_in_words(seconds: Range) -> str:
    """`12 min (10 to 15)`, all in the unit of the expected value."""
    number, unit = _in_unit(seconds.expected, seconds.expected)
    low, high = (_in_unit(value, seconds.expected)[0] for value in (seconds.low, seconds.high))
    return f"{number} {unit} ({low} to {high})"


def _in_unit(seconds: float, like: float) -> Sequence[str]:
    size, unit = (1, "s") if like < 99.5 else (60, "min") if like < 99.5 * 60 else (3600, "h")
    value = seconds / size
    whole_from = 9.95 if unit == "s" else 19.95
    return (f"{value:.0f}" if value >= whole_from else f"{value:.1f}" if value >= 0.1 or value == 0 else f"{value:.2g}"), unit


def gigabytes(num_bytes: float) -> str:
    """`2.60 GB`, `16.4 GB`."""
    value = num_bytes / 1e9
    return f"{value:.1f} GB" if value >= 10 else f"{value:.2f} GB"
