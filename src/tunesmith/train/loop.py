"""The training loop: one step after another, validations and checkpoints on the way."""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tunesmith.config import TrainConfig
from tunesmith.distributed.group import ALONE, Group
from tunesmith.engine.attention import attending_by_segments, can_share
from tunesmith.engine.dealing import plan_own_packs
from tunesmith.engine.kernels.regions import compiled_if_worth
from tunesmith.engine.memory import memory_in_use
from tunesmith.engine.packing import ROUND_TO, build_pack
from tunesmith.engine.sharded.calling import is_sharded
from tunesmith.engine.sharded.idle import idle_pass
from tunesmith.errors import TrainingError, TrainingInterrupted
from tunesmith.runs import RunDirectory
from tunesmith.train.checkpoint import Progress, drop_other_bests, save_best, save_checkpoint
from tunesmith.train.objectives import Batch, Objective, Split
from tunesmith.train.observer import Observer, names_of
from tunesmith.train.plan import epoch_after, evaluate_every, learning_rate_at, tokens_per_micro_batch
from tunesmith.train.reuse import reusing_activations
from tunesmith.train.start import Trainee
from tunesmith.types import RenderedExample

if TYPE_CHECKING:
    from tunesmith.train.sharded_checkpoint import ShardedSaver


@dataclass(frozen=True, kw_only=True)
class Task:
    """Everything the loop needs; nothing in it changes but the weights and the optimiser's moments."""

    config: TrainConfig
    run: RunDirectory
    trainee: Trainee
    optimizer: torch.optim.Optimizer
    objective: Objective
    train: Split
    validation: Split
    steps: Sequence[Sequence[int]]
    observer: Observer
    group: Group = ALONE
    """The processes that train together, each with this task."""
    saver: ShardedSaver | None = None
    """Writes what no rank has whole; None where each has."""

    @cached_property
    def validate_every(self) -> int:
        return evaluate_every(self.steps, len(self.train), self.config)

    @property
    def tokens_per_pack(self) -> int:
        return tokens_per_micro_batch(self.config, self.trainee.network.device.type)

    def is_over(self, progress: Progress) -> bool:
        """All steps are done, or validation has stopped improving."""
        patience = self.config.patience
        return progress.step == len(self.steps) or bool(patience and progress.validations_since_best >= patience)


class StepResult(NamedTuple):
    """One optimiser update."""

    loss: float
    """Before the update; of supervised training in nats per supervised token."""
    num_terms: int
    """What the loss is the mean of: supervised tokens, or examples."""
    figures: Mapping[str, float]
    """What else the objective shows, as means over the step."""
    grad_norm: float
    num_tokens: int
    num_supervised: int


def run_loop(task: Task, progress: Progress) -> Progress:
    """Train from where `progress` stands to the last step, or until validation stops improving.

    Raises:
        TrainingError: a loss or gradient is not finite; nothing was updated with it, or the update is not saved.
        TrainingInterrupted: the user pressed Ctrl-C; the step was finished and saved.
        RunError: the disk is full.
    """
    task.observer.started(len(task.steps), progress.step)
    try:
        steps_left = len(task.steps) - progress.step
        with compiled_if_worth(steps_left), reusing_activations(task, progress), interruption() as interrupted:
            while not task.is_over(progress):
                advance(task, progress)
                if progress.step == len(task.steps) or progress.step % task.validate_every == 0:
                    started = time.perf_counter()
                    validate(task, progress)
                    save(task, progress)
                    progress.other_seconds += time.perf_counter() - started
                if task.group.any(interrupted.is_set()) and not task.is_over(progress):
                    save(task, progress)
                    finish_saving(task)
                    raise _interrupted(task, progress)
            if progress.step < len(task.steps):
                task.observer.say(f"stopped early: no better validation loss since step {progress.best_step}")
            finish_saving(task)
    except TrainingError:  # on all ranks alike: what was saved before it is to be there
        finish_saving(task)
        raise
    finally:
        task.observer.finished()
    return progress


def advance(task: Task, progress: Progress) -> None:
    """One step, logged."""
    started = time.perf_counter()
    rate = learning_rate_at(progress.step, len(task.steps), task.config.learning_rate or 0.0, task.config)
    result = train_step(task, task.steps[progress.step], rate, progress.step + 1)
    seconds = time.perf_counter() - started
    progress.step += 1
    progress.tokens += result.num_tokens
    progress.supervised += result.num_supervised
    progress.seconds += seconds
    metrics = {
        "kind": "step",
        "step": progress.step,
        "epoch": round(epoch_after(progress.step, task.steps, len(task.train)), 4),
        "loss": result.loss,
        "num_terms": result.num_terms,
        **result.figures,
        "learning_rate": rate,
        "grad_norm": result.grad_norm,
        "num_tokens": result.num_tokens,
        "num_supervised": result.num_supervised,
        "seconds": round(seconds, 4),
        "tokens_per_second": round(result.num_tokens / seconds, 1),
        "memory_bytes": memory_in_use(task.trainee.network.device),
    }
    task.run.append_metrics(metrics)
    task.observer.stepped(metrics)


def train_step(task: Task, members: Sequence[int], learning_rate: float, step: int) -> StepResult:
    """Add up the gradients of the step's micro-batches, then update once.

    The loss is the mean over the whole step (of its supervised tokens, or of its examples), however they fall into micro-batches and
    onto ranks.
    """
    network, weights, objective = task.trainee.network, task.trainee.weights, task.objective
    _reseed(task, step)
    batch = objective.batch(network, task.train, members, task.tokens_per_pack)
    with attending_by_segments(network):
        own = _run_packs(task, batch)
    weights.add_up_gradients(task.group)
    total, num_tokens, figures = _add_up(task.group.gather(own))
    grad_norm = weights.clip_gradients(task.config.max_grad_norm)
    if not (math.isfinite(total) and math.isfinite(grad_norm)):
        raise _not_finite(step, total, grad_norm, [task.train.rendered[i] for i in members])
    for group in task.optimizer.param_groups:
        group["lr"] = learning_rate
    task.optimizer.step()
    weights.clear_gradients()
    weights.publish()
    num_supervised = sum(one.num_predicted for one in batch.sequences)
    return StepResult(total, batch.num_terms, objective.summarise(figures), grad_norm, num_tokens, num_supervised)


class _Sums(NamedTuple):
    """Of one rank's share of a step."""

    loss: float
    num_tokens: int
    figures: dict[str, list[float]]


def _run_packs(task: Task, batch: Batch) -> _Sums:
    """Forward and backward over this rank's packs."""
    network, objective = task.trainee.network, task.objective
    total, num_tokens = 0.0, 0
    figures: defaultdict[str, list[float]] = defaultdict(list)
    sequences, share = [one.token_ids for one in batch.sequences], task.config.share_prefixes and can_share(network)
    network.train()
    packs = plan_own_packs(sequences, task.tokens_per_pack, task.group, families=batch.families, share=share, in_step=is_sharded(network))
    for members in packs:
        if not members:
            idle_pass(network)
            continue
        pack = build_pack(batch.sequences, members, network.device, share=share, round_to=ROUND_TO)
        part = objective.part(network, pack, batch)
        part.total.backward()
        total += float(part.total.detach())
        num_tokens += pack.num_tokens
        for name, values in part.figures.items():
            figures[name] += values
    return _Sums(total, num_tokens, dict(figures))


def _add_up(ranks: Sequence[_Sums]) -> _Sums:
    figures: defaultdict[str, list[float]] = defaultdict(list)
    for one in ranks:
        for name, values in one.figures.items():
            figures[name] += values
    return _Sums(sum(one.loss for one in ranks), sum(one.num_tokens for one in ranks), figures)


def _reseed(task: Task, step: int) -> None:
    """Ranks drop out different inputs, and the same ones when the run is resumed: alone, the generator's state is saved instead."""
    if not task.group.is_alone:
        torch.manual_seed(int(np.random.SeedSequence([task.config.seed, step, task.group.rank]).generate_state(1)[0]))


def validate(task: Task, progress: Progress) -> None:
    """The objective's loss on the validation split; the best weights so far are kept."""
    if not task.validation:
        return
    network = task.trainee.network
    network.eval()
    figures = task.objective.validate(network, task.validation, task.tokens_per_pack)
    loss = figures["loss"]
    if not math.isfinite(loss):
        raise _not_finite_validation(progress, loss)
    is_best = progress.best_loss is None or loss < progress.best_loss
    if is_best:
        progress.best_loss, progress.best_step, progress.validations_since_best = loss, progress.step, 0
        progress.best_figures = figures
        (task.saver.save_best if task.saver else save_best)(task.run, progress, task.trainee.weights)
    else:
        progress.validations_since_best += 1
    metrics = {"kind": "validation", "step": progress.step, **figures, "is_best": is_best}
    task.run.append_metrics(metrics)
    task.observer.validated(metrics)


def save(task: Task, progress: Progress) -> None:
    """Write a checkpoint, then let go of what it replaces; where weights are spread, while training goes on."""
    saved = dataclasses.replace(progress)

    def drop_former() -> None:
        drop_other_bests(task.run, saved)
        task.run.keep_last_checkpoints(task.config.keep_checkpoints)

    if task.saver:
        task.saver.save_checkpoint(task.run, saved, task.trainee.weights, task.optimizer, drop_former, at_once=task.is_over(progress))
        return
    save_checkpoint(task.run, saved, task.trainee.weights, task.optimizer)
    drop_former()


def finish_saving(task: Task) -> None:
    """Wait until what was begun is on disk."""
    if task.saver:
        task.saver.finish()
    task.group.barrier()  # whoever leaves early is taken for lost, and the first rank, which may be writing still, is ended


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, or the first request to terminate (SIGTERM); a second one interrupts at once.

    Elsewhere than in the main thread: never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def on_signal(signum: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _interrupted(task: Task, progress: Progress) -> TrainingInterrupted:
    return TrainingInterrupted(
        str(task.run.path),
        f"stopped at step {progress.step} of {len(task.steps)}, which is saved",
        expected="to go on later",
        remedy=f"`tunesmith train --resume {task.run.path}`",
    )


def _not_finite(step: int, loss: float, grad_norm: float, examples: Sequence[RenderedExample]) -> TrainingError:
    return TrainingError(
        f"step {step}",
        f"loss {loss} and gradient norm {grad_norm} (examples {names_of(examples)}); the update was not made",
        expected="finite numbers",
        remedy="lower --learning-rate, look at these examples with `tunesmith preview`, or use --dtype float32",
    )


def _not_finite_validation(progress: Progress, loss: float) -> TrainingError:
    return TrainingError(
        f"step {progress.step}",
        f"the loss on the validation split became {loss}; this step was not saved",
        expected="a finite number",
        remedy="lower --learning-rate, or use --dtype float32",
    )
