"""One step: micro-batches add up, a bad number stops it before the update."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.engine import reference
from tests.train.helpers import StopAt, Stopped
from tests.train.tasks import LENGTHS, make_task, update_of
from tunesmith.config import TrainConfig
from tunesmith.errors import TrainingError
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train import loop, objectives
from tunesmith.train.checkpoint import Progress
from tunesmith.train.loop import Task, train_step
from tunesmith.train.observer import Recording
from tunesmith.train.optimizer import make_optimizer
from tunesmith.train.train import resume, train

Settings = Callable[..., TrainConfig]


@pytest.fixture(params=["llama", "gemma"])
def model_dir(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(f"tiny_{request.param}")
    return directory


@pytest.mark.parametrize("tokens", [1, 45, 100])
def test_one_batch_equals_several_micro_batches(model_dir: Path, tokens: int) -> None:
    members = list(range(8))
    whole = update_of(make_task(model_dir, tokens_per_micro_batch=10_000), members)
    parts = update_of(make_task(model_dir, tokens_per_micro_batch=tokens), members)
    reference.assert_same_gradients(parts, whole)


def test_the_update_is_the_gradient_of_the_mean_over_supervised_tokens(model_dir: Path) -> None:
    task = make_task(model_dir, tokens_per_micro_batch=50)
    network = copy.deepcopy(task.trainee.network)
    loss = reference.mean_loss(network, task.train.rendered[:5])
    loss.backward()
    before = {name: tensor.clone() for name, tensor in task.trainee.weights.state().items()}
    result = train_step(task, [0, 1, 2, 3, 4], 1.0, 1)
    assert result.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert result.num_tokens == sum(LENGTHS[:5])
    assert result.num_supervised == sum(sum(e.supervised[1:]) for e in task.train.rendered[:5])
    assert result.num_terms == result.num_supervised
    assert result.figures == {}
    expected = reference.gradients(network)
    norm = float(torch.cat([g.flatten() for g in expected.values()]).norm())
    assert result.grad_norm == pytest.approx(norm, rel=1e-4)
    found = {name: before[name] - tensor for name, tensor in task.trainee.weights.state().items()}
    reference.assert_same_gradients(found, expected)


def test_bfloat16_gradients_of_micro_batches_add_up(tiny_llama: Path) -> None:
    whole = update_of(make_task(tiny_llama, torch.float32), list(range(8)))
    parts = update_of(make_task(tiny_llama, torch.bfloat16, tokens_per_micro_batch=1), list(range(8)))
    for name, gradient in whole.items():
        assert float((parts[name] - gradient).norm() / gradient.norm()) < 0.1, name


def test_gradients_are_clipped_to_the_global_norm(tiny_llama: Path) -> None:
    free = update_of(make_task(tiny_llama), [0, 1])
    clipped = update_of(make_task(tiny_llama, max_grad_norm=0.25), [0, 1])
    norm = torch.cat([g.flatten() for g in free.values()]).norm()
    assert float(norm) > 0.25
    assert float(torch.cat([g.flatten() for g in clipped.values()]).norm()) == pytest.approx(0.25, rel=1e-3)
    for name, gradient in free.items():
        torch.testing.assert_close(clipped[name], gradient * 0.25 / norm, rtol=1e-3, atol=1e-6)


def test_no_gradient_is_left_for_the_next_step(tiny_llama: Path) -> None:
    task = make_task(tiny_llama)
    train_step(task, [0, 1], 1.0, 1)
    assert all(master.grad is None for master in task.trainee.weights.masters.values())
    assert all(parameter.grad is None for parameter in task.trainee.network.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_update(tiny_llama: Path, value: float) -> None:
    task = make_task(tiny_llama)
    with torch.no_grad():
        task.trainee.weights.masters["model.norm.weight"][3] = value
    before = {name: tensor.clone() for name, tensor in task.trainee.weights.state().items()}
    with pytest.raises(TrainingError) as caught:
        train_step(task, [0, 2, 5], 1.0, 41)
    assert caught.value.place == "step 41"
    assert "(examples x:1, x:3, x:6); the update was not made" in caught.value.found
    assert caught.value.exit_code == 1
    for name, tensor in task.trainee.weights.state().items():
        assert torch.equal(tensor, before[name]) or name == "model.norm.weight"


def test_a_ruinous_learning_rate_stops_and_the_last_good_checkpoint_stays(settings: Settings, tmp_path: Path) -> None:
    config = settings(method="full", learning_rate=1e30, warmup_fraction=0.0, schedule="constant", epochs=2, evaluate_every=8)
    with pytest.raises(TrainingError, match=r"step 2: loss .* gradient norm nan \(examples faq.csv:\d+, .*\); the update was not made"):
        train(config, runs_dir=tmp_path, name="ruined")
    run = open_run(tmp_path / "ruined")
    assert not run.is_complete
    assert [line["step"] for line in run.metrics()] == [1]
    assert run.checkpoints() == []


def test_a_validation_loss_that_is_not_finite_is_never_the_best(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ruinous update may be the last one: no later step would notice."""
    monkeypatch.setattr(objectives, "mean_loss", lambda _: float("nan"))
    with pytest.raises(TrainingError, match=r"step 1: the loss on the validation split became nan; this step was not saved"):
        train(settings(max_steps=1), runs_dir=tmp_path, name="ruined")
    run = open_run(tmp_path / "ruined")
    assert not run.is_complete
    assert not run.best_dir.exists()
    assert run.checkpoints() == []


def test_patience_counts_validations_without_a_new_best(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 9.9])
    monkeypatch.setattr(objectives, "score", lambda *_, **__: None)
    monkeypatch.setattr(objectives, "mean_loss", lambda _: next(losses))
    task = make_task(tiny_llama, epochs=20, examples_per_step=8, evaluate_every=1, patience=2)
    (tmp_path / "run").mkdir()
    observer = Recording()
    task = Task(**{**task.__dict__, "run": RunDirectory(tmp_path / "run"), "validation": task.train, "observer": observer})
    task = Task(**{**task.__dict__, "optimizer": make_optimizer(task.trainee.weights, task.config)})
    progress = loop.run_loop(task, Progress())
    # 3.0 comes just in time; 3.0 again is no new best
    assert (progress.step, progress.best_step, progress.best_loss) == (6, 4, 3.0)
    assert [v["is_best"] for v in observer.validations] == [True, True, False, True, False, False]


def test_the_observer_is_told_even_when_the_loop_breaks(settings: Settings, tmp_path: Path) -> None:
    class Counting(StopAt):
        started_at: tuple[int, int] | None = None
        times_finished = 0

        def started(self, num_steps: int, first_step: int) -> None:
            self.started_at = (num_steps, first_step)

        def finished(self) -> None:
            self.times_finished += 1

    observer = Counting(3)
    with pytest.raises(Stopped):
        train(settings(epochs=2, evaluate_every=2), runs_dir=tmp_path, name="x", observer=observer)
    assert (observer.started_at, observer.times_finished) == ((8, 0), 1)
    again = Counting(99)
    resume(tmp_path / "x", observer=again)
    assert (again.started_at, again.times_finished) == ((8, 2), 1)
