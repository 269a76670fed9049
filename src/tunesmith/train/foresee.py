"""What a run will take, measured on the real trainee before its first step.

>>> forecast = foresee(task, cost)
>>> require_fit(forecast, task, workload_of(task, cost))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.train.checkpoint import Progress
from tunesmith.train.estimate import Cost, forward_share
from tunesmith.train.fit import require_fit
from tunesmith.train.forecast import Forecast, Workload, compare, comparison_sentence, make_forecast
from tunesmith.train.loop import Task
from tunesmith.train.measure import Instruments, measure_run
from tunesmith.train.optimizer import gradient_bytes, moments_bytes

SHORT_RUN = 20
"""Steps; below, measuring would take as long as a good part of the run, whose first steps say the same."""


def foresee(task: Task, cost: Cost, instruments: Instruments | None = None) -> Forecast:
    """Measure and add up.

    Raises:
        TrainingError: a loss or a gradient is not finite.
        ConfigError: the run does not fit; settings are named that would.
    """
    workload = workload_of(task, cost)
    tools = instruments or Instruments()
    measurement = measure_run(task, workload, tools)
    forecast = make_forecast(measurement, workload, tools.room(task.trainee.network.device))
    require_fit(forecast, task, workload)
    return forecast


def workload_of(task: Task, cost: Cost) -> Workload:
    """Count what is known without measuring."""
    trainee, config = task.trainee, task.config
    weights = trainee.weights
    lengths = task.train.lengths
    per_step = [sum(lengths[i] for i in members) for members in task.steps]
    validation_tokens = sum(task.validation.lengths)
    used = {i for members in task.steps for i in members}
    is_on_cpu = trainee.network.device.type == "cpu"
    return Workload(
        step_tokens=tuple(per_step),
        tokens_per_micro_batch=task.tokens_per_pack,
        num_steps_per_epoch=len(task.steps) * len(task.train) / sum(len(members) for members in task.steps),
        validation_tokens=validation_tokens,
        validate_every=task.validate_every,
        reference_tokens=sum(lengths[i] for i in used) + validation_tokens if task.objective.needs_reference else 0,
        forward_share=forward_share(trainee, cost),
        weights_bytes=sum(p.numel() * p.element_size() for p in trainee.network.parameters()),
        masters_bytes=weights.masters_bytes,
        gradient_bytes=gradient_bytes(weights, several=max(per_step) > task.tokens_per_pack),
        moments_bytes=moments_bytes(weights, config.optimizer),
        writing_bytes=4 * trainee.num_parameters if is_on_cpu and trainee.peft_network is None else 0,
    )


def own_error(recorded: Mapping[str, Any] | None, task: Task, progress: Progress, peak: int) -> dict[str, Any] | None:
    """How far off the forecast in `run.json` was, for what the run has done; None where there was none.

    Says it too.
    """
    if not recorded:
        return None
    forecast = Forecast.from_record(dict(recorded))
    num_validations = -(-progress.step // task.validate_every) if task.validation else 0
    seconds = progress.seconds + progress.other_seconds
    error = compare(forecast, seconds=seconds, peak=peak, num_steps=progress.step, num_validations=num_validations)
    task.observer.say(comparison_sentence(error))
    return error


def is_short(task: Task) -> bool:
    """Whether the run is over before measuring would have paid."""
    return len(task.steps) < SHORT_RUN
