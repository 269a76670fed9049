"""For `freeze`: what the layers below the trained ones compute is computed once, and reused in every epoch.

All of it is computed before the first step, in packs that only the settings and the data decide, and computed again in the
same way when a run is resumed: so every step starts from the same numbers to the last bit, wherever the run was interrupted.
It lies in memory, else in a file in the run's directory, else each step computes it anew. What was decided when the run began
(`activations.json`) holds for all of it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import torch

from tunesmith.engine.frozen import KeepingPlan, KeptActivations, keep, obstacle, plan_keeping, reusing
from tunesmith.engine.memory import memory_in_use
from tunesmith.engine.room import room
from tunesmith.train.forecast import gigabytes
from tunesmith.types import RenderedExample

if TYPE_CHECKING:
    from tunesmith.train.checkpoint import Progress
    from tunesmith.train.loop import Task

MEMORY_SHARE = 0.25
"""Of the free memory, at most; training needs some, and so do the user's other programs."""
DISK_SHARE = 0.5
"""Of the free disk space, at most."""

Place = Literal["memory", "disk"]


@contextmanager
def reusing_activations(task: Task, progress: Progress) -> Iterator[None]:
    """Within the block steps and validations run the trained layers only, where that is possible and saves anything.

    The time that computing the others takes is added to `progress.other_seconds`.

    Raises:
        OSError: the disk is full.
    """
    started = time.perf_counter()
    try:
        kept = _keep(task, progress)
        progress.other_seconds += time.perf_counter() - started
        with reusing(task.trainee.network, kept) if kept else nullcontext():
            yield
    finally:
        if not task.run.is_followed:
            task.run.activations_file.unlink(missing_ok=True)


def _keep(task: Task, progress: Progress) -> KeptActivations | None:
    if not _saves_anything(task) or task.is_over(progress):
        return None
    if not task.group.is_alone:  # which rank runs an example changes from step to step: each would have to keep all of them
        task.observer.say("activations below the trained layers are computed anew in every step: several processes train")
        return None
    decided = task.run.activations_record()
    if decided is None and progress.step:
        return None  # begun by an earlier version, which computed them anew in every step
    if decided and not decided["reused"]:
        return None
    network = task.trainee.network
    plan = plan_keeping(network, _sequences(task), task.tokens_per_pack, share=task.config.share_prefixes)
    reason = obstacle(network, plan)
    place = None if reason else choose_place(plan.num_bytes, memory_budget(task), disk_budget(task))
    if place is None:
        reason = reason or f"{gigabytes(plan.num_bytes)} fit neither a quarter of the free memory nor half of the free disk"
    task.observer.say(_sentence(task, plan, place, reason))
    if decided is None:
        task.run.write_activations_record({"reused": place is not None, "reason": reason})
    elif place is None:
        task.observer.say("that is equal to the run's first steps, but not to the last bit")
    return keep(network, plan, task.run.activations_file if place == "disk" else None) if place else None


def _saves_anything(task: Task) -> bool:
    """An example that comes once is computed once anyway."""
    used = [i for members in task.steps for i in members]
    return task.config.method == "freeze" and task.config.cache_activations and len(used) >= 2 * len(set(used))


def _sequences(task: Task) -> list[RenderedExample]:
    """Of the training examples that steps use, and of the validation split."""
    used = sorted({i for members in task.steps for i in members})
    sides = [side for side in (task.train.rendered, task.train.rejected) if side]
    return [side[i] for side in sides for i in used] + [*task.validation.rendered, *task.validation.rejected]


def choose_place(num_bytes: int, memory_budget: int, disk_budget: int) -> Place | None:
    """The first that has room."""
    if num_bytes <= memory_budget:
        return "memory"
    return "disk" if num_bytes <= disk_budget else None


def memory_budget(task: Task) -> int:
    """Bytes: a share of the free memory, and no more than what the run itself is expected to leave."""
    cpu = torch.device("cpu")
    available = room(cpu)
    budget = int(MEMORY_SHARE * (available - memory_in_use(cpu)))
    estimate = task.run.record().get("estimate")
    if estimate and task.trainee.network.device.type == "cpu":
        budget = min(budget, available - int(estimate["peak_bytes"]))
    return max(0, budget)


def disk_budget(task: Task) -> int:
    """Bytes; what an interrupted attempt left in the run's directory counts as free."""
    file = task.run.activations_file
    return int(DISK_SHARE * shutil.disk_usage(task.run.path).free) + (file.stat().st_size if file.exists() else 0)


def _sentence(task: Task, plan: KeepingPlan, place: Place | None, reason: str) -> str:
    count = task.config.trainable_layers
    where = f"below the last {f'{count} layers' if count > 1 else 'layer'}"
    if place is None:
        return f"activations {where} are computed anew in every step: {reason}"
    of = "in memory" if place == "memory" else "on disk"
    return f"activations of {len(plan.examples):,} examples {where} kept {of}: {gigabytes(plan.num_bytes)}"
