"""AdamW on masters in halves, through the real step, against torch's AdamW on whole ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.train.tasks import make_task
from tunesmith.config import TrainConfig
from tunesmith.engine.masters import TrainedWeights
from tunesmith.train.loop import Task, train_step
from tunesmith.train.optimizer import SplitAdamW, keeps_halves, load_optimizer_state, make_optimizer, optimizer_state

BF16, CPU = torch.bfloat16, torch.device("cpu")


def task_of(model_dir: Path, *, in_halves: bool, **settings: float) -> Task:
    task = make_task(model_dir, BF16, in_halves=in_halves, **settings)
    return dataclasses.replace(task, optimizer=make_optimizer(task.trainee.weights, task.config))


@pytest.mark.parametrize(
    "settings",
    [{}, {"tokens_per_micro_batch": 45}, {"max_grad_norm": 0.25}, {"weight_decay": 0.5}],
    ids=["plain", "micro-batches", "clipped", "decayed"],
)
def test_steps_equal_those_of_whole_masters(tiny_llama: Path, settings: dict[str, float]) -> None:
    whole, halved = (task_of(tiny_llama, in_halves=in_halves, **settings) for in_halves in (False, True))
    start = {name: tensor.clone() for name, tensor in halved.trainee.weights.state().items()}
    for step in range(1, 5):
        expected, found = (train_step(task, range(8), 1e-3, step) for task in (whole, halved))
        assert found.loss == pytest.approx(expected.loss, rel=2e-3)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=2e-2)
    way = torch.cat([(tensor - start[name]).flatten() for name, tensor in whole.trainee.weights.state().items()])
    gap = torch.cat([(tensor - halved.trainee.weights.state()[name]).flatten() for name, tensor in whole.trainee.weights.state().items()])
    assert float(gap.norm() / way.norm()) < 0.2  # gradients in bfloat16 differ where the weights round differently
    assert float(way.norm()) > 0


def test_one_micro_batch_equals_several(tiny_llama: Path) -> None:
    whole = task_of(tiny_llama, in_halves=True, tokens_per_micro_batch=10_000)
    parts = task_of(tiny_llama, in_halves=True, tokens_per_micro_batch=45)
    one, other = (train_step(task, range(8), 1e-3, 1) for task in (whole, parts))
    assert other.loss == pytest.approx(one.loss, rel=1e-2)
    assert other.grad_norm == pytest.approx(one.grad_norm, rel=2e-2)


def test_the_state_comes_back_to_the_bit(tiny_llama: Path) -> None:
    task = task_of(tiny_llama, in_halves=True)
    train_step(task, range(8), 1e-3, 1)
    state = {name: tensor.clone() for name, tensor in optimizer_state(task.optimizer, task.trainee.weights).items()}
    weights = {name: tensor.clone() for name, tensor in task.trainee.weights.state().items()}
    train_step(task, range(8), 1e-3, 2)
    after = {name: tensor.clone() for name, tensor in task.trainee.weights.state().items()}
    again = task_of(tiny_llama, in_halves=True)
    again.trainee.weights.load(weights)
    load_optimizer_state(again.optimizer, again.trainee.weights, state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in optimizer_state(again.optimizer, again.trainee.weights).items())
    train_step(again, range(8), 1e-3, 2)
    assert all(torch.equal(tensor, after[name]) for name, tensor in again.trainee.weights.state().items())


def test_float32_moments_of_an_earlier_version_are_taken(tiny_llama: Path) -> None:
    whole, halved = (task_of(tiny_llama, in_halves=in_halves) for in_halves in (False, True))
    train_step(whole, range(8), 1e-3, 1)
    saved = optimizer_state(whole.optimizer, whole.trainee.weights)
    load_optimizer_state(halved.optimizer, halved.trainee.weights, saved)
    found = optimizer_state(halved.optimizer, halved.trainee.weights)
    for name in halved.trainee.weights.parameters:
        assert float(found[f"{name}|step"]) == 1.0
        assert torch.equal(found[f"{name}|exp_avg"], saved[f"{name}|exp_avg"].bfloat16())
        torch.testing.assert_close(found[f"{name}|exp_avg_sq"].float(), saved[f"{name}|exp_avg_sq"], rtol=2**-7, atol=0.0)


def test_weights_without_a_gradient_stay_and_are_not_saved() -> None:
    weights = TrainedWeights(nn.ParameterList([torch.ones(3), torch.ones(4)]), BF16, in_halves=True)
    optimizer = SplitAdamW(weights, weight_decay=0.1)
    weights.add_gradient("0", torch.ones(3, dtype=BF16))
    optimizer.step()
    assert torch.equal(weights.state()["1"], torch.ones(4))
    assert not torch.equal(weights.state()["0"], torch.ones(3))
    assert {name.partition("|")[0] for name in optimizer_state(optimizer, weights)} == {"0"}


@pytest.mark.parametrize(
    ("settings", "dtype", "expected"),
    [
        ({"method": "full"}, BF16, True),
        ({"method": "freeze"}, BF16, True),
        ({"method": "full"}, torch.float32, False),
        ({"method": "full", "optimizer": "adafactor"}, BF16, False),
        ({"method": "lora"}, BF16, False),
    ],
    ids=str,
)
def test_who_keeps_halves(settings: dict[str, str], dtype: torch.dtype, expected: bool) -> None:
    config = TrainConfig(model="m", data=Path("d"), **settings)
    assert keeps_halves(config, dtype, CPU) is expected
    assert not keeps_halves(config, dtype, torch.device("cuda"))
