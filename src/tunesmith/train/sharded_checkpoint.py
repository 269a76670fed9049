"""Checkpoints of weights that are spread over a group: every rank writes its own rows, while training goes on.

checkpoints/step-00000040/
  shard-00001-model-00001-of-00001.safetensors   float32 masters and moments of the first rank's rows, and so on for each rank
  random.safetensors, state.json                 as in `train/checkpoint.py`

>>> saver = ShardedSaver(group)
>>> saver.save_checkpoint(run, progress, weights, optimizer)    # copies, and writes in the background
>>> saver.finish()                                              # the checkpoint is there

torch.distributed.checkpoint says who writes what and when; the files are `shard_writer.py`'s. Until all ranks are done the folder has
a temporary name. While it is written a rank holds a copy of its own rows, of weights and moments 12 bytes each; where nobody trains
meanwhile, not even that.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.device_mesh import DeviceMesh

from tunesmith.distributed.group import PATIENCE, Group
from tunesmith.engine.masters import TrainedWeights
from tunesmith.files import sync_directory, write_json
from tunesmith.runs import RunDirectory
from tunesmith.train.checkpoint import Progress, best_path, full_disk_named, random_state
from tunesmith.train.optimizer import optimizer_state
from tunesmith.train.saved_tensors import OPTIMIZER, WEIGHTS
from tunesmith.train.shard_writer import ShardWriter


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Save:
    """What is being written."""

    path: Path
    staging: Path
    doing: str
    run: RunDirectory
    written: Future[Any]
    complete: Callable[[Path], None]
    """Adds what one rank writes alone, to the temporary folder."""
    after: Callable[[], None]
    """Lets go of what the new folder replaces."""


class ShardedSaver:
    """Writes one folder at a time, on all ranks of a group together, which call it in the same order."""

    def __init__(self, group: Group) -> None:
        assert not group.is_alone
        self.group = group
        # Of its own: what is sent while a folder is written must not meet what training sends.
        self._ranks = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._mesh = DeviceMesh.from_group(self._ranks, "cpu")
        self._pending: _Save | None = None

    def save_checkpoint(
        self,
        run: RunDirectory,
        progress: Progress,
        weights: TrainedWeights,
        optimizer: torch.optim.Optimizer,
        after: Callable[[], None] = lambda: None,
        *,
        at_once: bool = False,
    ) -> None:
        """Begin a checkpoint, once the folder before is whole; it has the numbers of now.

        Args:
            after: what the first rank does when the checkpoint is there.
            at_once: return when it is there; then nothing is copied.

        Raises:
            RunError: the disk is full; the last good checkpoint is untouched.
        """
        tensors = {f"{WEIGHTS}{name}": value.detach() for name, value in weights.masters.items()}
        tensors |= {f"{OPTIMIZER}{name}": value for name, value in optimizer_state(optimizer, weights).items()}
        state, random = dataclasses.asdict(progress), random_state()

        def complete(staging: Path) -> None:
            save_file(random, staging / "random.safetensors")
            write_json(staging / "state.json", state)

        doing = f"saving step {progress.step}"
        self._begin(run, run.checkpoint_path(progress.step), doing, tensors, complete, after, copies=not at_once)
        if at_once:
            self.finish()

    def save_best(self, run: RunDirectory, progress: Progress, weights: TrainedWeights) -> None:
        """Begin to keep the weights of the best validation; the former best stays.

        Raises:
            RunError: the disk is full; the former best is untouched.
        """
        tensors = {f"{WEIGHTS}{name}": value.detach() for name, value in weights.masters.items()}
        doing = f"saving the best weights, of step {progress.step}"
        self._begin(run, best_path(run, progress.step), doing, tensors, lambda _: None, lambda: None)

    def _begin(
        self,
        run: RunDirectory,
        path: Path,
        doing: str,
        tensors: Mapping[str, Tensor],
        complete: Callable[[Path], None],
        after: Callable[[], None],
        *,
        copies: bool = True,
    ) -> None:
        self.finish()
        if self.group.from_first(path.exists):
            self.group.from_first(after)
            return
        staging = path.with_name(f".{path.name}.partial-ranks")
        with full_disk_named(run, doing):
            self.group.from_first(lambda: _make_empty(staging))
            writer = ShardWriter(staging, self._mesh, copies=copies)
            written = async_save(dict(tensors), storage_writer=writer, process_group=self._ranks)
        assert isinstance(written, Future)
        self._pending = _Save(path=path, staging=staging, doing=doing, run=run, written=written, complete=complete, after=after)

    def finish(self) -> None:
        """Wait until what was begun is whole, on every rank.

        Raises:
            RunError: the disk is full.
        """
        if (save := self._pending) is None:
            return
        self._pending = None
        with full_disk_named(save.run, save.doing):
            try:
                save.written.result()
                self.group.from_first(lambda: _complete(save))
            except Exception:
                self.group.from_first(lambda: shutil.rmtree(save.staging, ignore_errors=True))
                raise
        self.group.from_first(save.after)


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _complete(save: _Save) -> None:
    save.complete(save.staging)
    for file in filter(Path.is_file, save.staging.iterdir()):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_directory(save.staging)
    save.staging.rename(save.path)
    sync_directory(save.path.parent)
