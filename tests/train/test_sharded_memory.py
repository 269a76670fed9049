"""What ranks hold while they write: of weights that are spread, a checkpoint takes one copy of a rank's own rows, or none; the result
some rows at a time. Resident memory is what counts, for copies may be torch's, Python's or of a library.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

from tests.ranks import run_ranks
from tests.tiny_models import build_tiny_llama
from tunesmith.config import TrainConfig
from tunesmith.distributed.group import joined
from tunesmith.engine.memory import give_back
from tunesmith.engine.sharded.weights import local
from tunesmith.runs import RunDirectory
from tunesmith.train import spread_result
from tunesmith.train.checkpoint import Progress
from tunesmith.train.defaults import fill_defaults
from tunesmith.train.optimizer import make_optimizer, optimizer_state
from tunesmith.train.saved_tensors import OPTIMIZER, WEIGHTS, SavedTensors
from tunesmith.train.sharded_checkpoint import ShardedSaver
from tunesmith.train.sharded_start import load_hollow_start, make_sharded_trainee
from tunesmith.train.spread_result import kept_weights, write_spread
from tunesmith.train.start import Trainee, find_start

MB = 10**6
SLACK = 8 * MB
"""What Python and gloo may take besides."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resets the peak of resident memory, which Linux alone can")


class Written(NamedTuple):
    """Bytes."""

    own: int
    """Of the rank's weights and moments."""
    meanwhile: int
    """By which memory grew at most for a checkpoint that is written while training goes on."""
    at_once: int
    result: int


def test_what_writing_takes(tmp_path: Path) -> None:
    """A model of 22 MB: a copy too many, or a file put together in memory, is 30 MB and more."""
    model = build_tiny_llama(tmp_path / "model", num_layers=1, width=768)
    for one in run_ranks(2, _write, TrainConfig(model=str(model), data=tmp_path, method="full", dtype="float32", device="cpu"), tmp_path):
        assert 30 * MB < one.own < 40 * MB
        assert 0.9 * one.own < one.meanwhile < one.own + SLACK
        assert one.at_once < SLACK
        assert one.result < SLACK


def _write(config: TrainConfig, directory: Path) -> Written:
    with joined("cpu") as group:
        config = fill_defaults(config, objective="sft", num_examples=32).config
        start = find_start(config.model)
        trainee = make_sharded_trainee(start, load_hollow_start(start, config), config, group)
        optimizer = make_optimizer(trainee.weights, config)
        for parameter in trainee.weights.parameters.values():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        trainee.weights.clear_gradients()
        run, saver = RunDirectory(directory / "run"), ShardedSaver(group)

        def meanwhile() -> None:
            saver.save_checkpoint(run, Progress(step=1), trainee.weights, optimizer)
            for parameter in trainee.weights.parameters.values():  # as if training went on
                local(parameter).zero_()
            saver.finish()

        before = {name: local(p).clone() for name, p in trainee.weights.parameters.items()}
        grown = [_growth(meanwhile)]
        for name, parameter in trainee.weights.parameters.items():
            local(parameter).copy_(before.pop(name))
        grown.append(_growth(lambda: saver.save_checkpoint(run, Progress(step=2), trainee.weights, optimizer, at_once=True)))
        spread_result.PIECE_BYTES = MB
        results = []
        for name in ("first", "again") if group.is_first else ():  # the first time modules are loaded
            (directory / name).mkdir()
            saved = kept_weights(run, Progress(step=2))
            results.append(_growth(lambda saved=saved, name=name: write_spread(trainee, saved, start, directory / name)))
        group.barrier()
        _require_right_numbers(run, trainee, optimizer)
        own = sum(local(p).nbytes for p in trainee.weights.parameters.values())
        return Written(3 * own, *grown, results[-1] if results else 0)


def _require_right_numbers(run: RunDirectory, trainee: Trainee, optimizer: torch.optim.Optimizer) -> None:
    """In both checkpoints, read by us and by torch's own reader."""
    weights = trainee.weights
    expected = {f"{WEIGHTS}{name}": p.detach() for name, p in weights.parameters.items()}
    expected |= {f"{OPTIMIZER}{name}": value for name, value in optimizer_state(optimizer, weights).items()}
    for step in (1, 2):
        saved = SavedTensors(run.checkpoint_path(step))
        assert set(saved) == set(expected)
        for name in weights.parameters:
            rows = weights.own_rows(name)
            assert torch.equal(saved.rows(WEIGHTS + name, *rows), local(weights.parameters[name]))
        found = {name: torch.zeros_like(value) for name, value in expected.items()}
        dcp.load(found, storage_reader=HuggingFaceStorageReader(str(run.checkpoint_path(step))))
        for name, value in expected.items():
            assert torch.equal(*(one.to_local() if hasattr(one, "to_local") else one for one in (found[name], value))), name


def _growth(write: Callable[[], None]) -> int:
    gc.collect()
    give_back()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is resident now (proc(5))
    write()
    return _resident("VmHWM") - before


def _resident(what: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if line.startswith(what))
    return 1024 * int(line.split()[1])
