"""Freeze with kept activations: the same run as without, the same run after a crash, nothing left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.samples import random_examples
from tests.train.helpers import DoAt, StopAt, Stopped, assert_equal_runs, contents
from tunesmith.config import TrainConfig
from tunesmith.engine import frozen
from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack
from tunesmith.errors import TrainingInterrupted
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train import reuse
from tunesmith.train.observer import Recording
from tunesmith.train.reuse import choose_place
from tunesmith.train.start import find_start, load_start, make_trainee
from tunesmith.train.train import resume, train

Settings = Callable[..., TrainConfig]

FREEZE: Mapping[str, Any] = {"method": "freeze", "trainable_layers": 1, "epochs": 3, "evaluate_every": 3, "learning_rate": 0.01}


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        monkeypatch.setattr(reuse, "memory_budget", lambda task: 0)
    return str(request.param)


def sentences_about(observer: Recording) -> list[str]:
    return [sentence for sentence in observer.sentences if sentence.startswith("activations")]


def losses(run: RunDirectory) -> Tensor:
    return torch.tensor([line["loss"] for line in run.metrics()])


def run_with(config: TrainConfig, runs_dir: Path, name: str) -> tuple[RunDirectory, Recording]:
    observer = Recording()
    return train(config, runs_dir=runs_dir, name=name, observer=observer), observer


@pytest.mark.parametrize("model", ["llama", "gemma"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_run_equals_one_that_computes_them_anew(
    settings: Settings, tmp_path: Path, request: pytest.FixtureRequest, place: str, model: str, dtype: str
) -> None:
    changes = {**FREEZE, "model": str(request.getfixturevalue(f"tiny_{model}")), "dtype": dtype}
    with_them, observer = run_with(settings(**changes), tmp_path, "with")
    without, silent = run_with(settings(**changes, cache_activations=False), tmp_path, "without")
    (sentence,) = sentences_about(observer)
    assert sentence.startswith(f"activations of 40 examples below the last layer kept {'in memory' if place == 'memory' else 'on disk'}: ")
    assert sentences_about(silent) == []
    tolerance = {"float32": 1e-4, "bfloat16": 2e-2}[dtype]
    torch.testing.assert_close(losses(with_them), losses(without), rtol=tolerance, atol=tolerance)
    assert losses(with_them)[-1] < losses(with_them)[0]
    assert with_them.activations_record() == {"schema_version": 1, "reused": True, "reason": ""}
    assert not with_them.activations_file.exists()
    assert without.activations_record() is None


def test_steps_and_validations_run_the_trained_layers_only(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in tokens that go through the attention of the lower layer."""
    seen = {"lower": 0, "upper": 0}
    original = nn.Module.__call__

    def counting(module: Any, *args: Any, **kwargs: Any) -> Any:
        if type(module).__name__ == "LlamaAttention":
            states = args[0] if args else kwargs["hidden_states"]
            seen["upper" if module.layer_idx else "lower"] += states.shape[0] * states.shape[1]
        return original(module, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", counting)
    counts = {}
    for cache in (True, False):
        seen.update(lower=0, upper=0)
        train(settings(**FREEZE, cache_activations=cache), runs_dir=tmp_path, name=f"run-{cache}")
        counts[cache] = dict(seen)
    assert counts[False]["lower"] == counts[False]["upper"]
    assert counts[True]["lower"] < 0.6 * counts[False]["lower"]
    assert counts[True]["upper"] < 1.1 * counts[False]["upper"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("step", [1, 5, 10])
def test_resumed_equals_uninterrupted(settings: Settings, tmp_path: Path, place: str, step: int, dtype: str) -> None:
    """Small micro-batches, so that the packs of the steps are not those that the activations were computed in."""
    config = settings(**FREEZE, tokens_per_micro_batch=100, dtype=dtype)
    whole = train(config, runs_dir=tmp_path, name="whole")
    with pytest.raises(Stopped):
        train(config, runs_dir=tmp_path, name="crashed", observer=StopAt(step))
    run = open_run(tmp_path / "crashed")
    assert not run.activations_file.exists()
    observer = Recording()
    resume(run.path, observer=observer)
    assert len(sentences_about(observer)) == 1
    assert_equal_runs(run, whole)


def test_a_killed_run_goes_on_in_another_place(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It began with room in memory; now there is some on disk only, and the file of the killed attempt lies there."""
    config = settings(**FREEZE)
    whole = train(config, runs_dir=tmp_path, name="whole")
    with pytest.raises(Stopped):
        train(config, runs_dir=tmp_path, name="crashed", observer=StopAt(5))
    run = open_run(tmp_path / "crashed")
    run.activations_file.write_bytes(b"half")
    monkeypatch.setattr(reuse, "memory_budget", lambda task: 0)
    resume(run.path)
    assert_equal_runs(run, whole)
    assert not run.activations_file.exists()


def test_interrupted_by_the_user(settings: Settings, tmp_path: Path, place: str) -> None:
    config = settings(**FREEZE)
    whole = train(config, runs_dir=tmp_path, name="whole")
    with pytest.raises(TrainingInterrupted):
        train(config, runs_dir=tmp_path, name="stopped", observer=DoAt(4, lambda: os.kill(os.getpid(), signal.SIGINT)))
    run = open_run(tmp_path / "stopped")
    assert not run.activations_file.exists()
    resume(run.path)
    assert contents(run.model_dir) == contents(whole.model_dir)


def test_without_room_every_step_computes_them_and_a_resumed_run_goes_on_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(**FREEZE)
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "choose_place", lambda *_: None)
        whole, observer = run_with(config, tmp_path, "whole")
        (sentence,) = sentences_about(observer)
        assert "computed anew in every step: " in sentence
        assert sentence.endswith(" fit neither a quarter of the free memory nor half of the free disk")
        with pytest.raises(Stopped):
            train(config, runs_dir=tmp_path, name="crashed", observer=StopAt(5))
    run = open_run(tmp_path / "crashed")
    silent = Recording()
    resume(run.path, observer=silent)  # there is room now
    assert sentences_about(silent) == []
    assert_equal_runs(run, whole)


def test_room_that_is_gone_when_a_run_is_resumed_is_said(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(**FREEZE)
    with pytest.raises(Stopped):
        train(config, runs_dir=tmp_path, name="crashed", observer=StopAt(5))
    monkeypatch.setattr(reuse, "choose_place", lambda *_: None)
    observer = Recording()
    resume(tmp_path / "crashed", observer=observer)
    assert "that is equal to the run's first steps, but not to the last bit" in observer.sentences


def test_a_run_of_an_earlier_version_goes_on_as_it_began(settings: Settings, tmp_path: Path) -> None:
    without = train(settings(**FREEZE, cache_activations=False), runs_dir=tmp_path, name="without")
    with pytest.raises(Stopped):
        train(settings(**FREEZE, cache_activations=False), runs_dir=tmp_path, name="crashed", observer=StopAt(5))
    run = open_run(tmp_path / "crashed")
    file = run.path / "run.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"cache_activations": false', '"cache_activations": true'), encoding="utf-8")
    observer = Recording()
    resume(run.path, observer=observer)
    assert sentences_about(observer) == []
    assert_equal_runs(run, without)


@pytest.mark.parametrize(
    "changes", [{"epochs": 1}, {"method": "full"}, {"max_steps": 3}], ids=["each example once", "nothing frozen", "not even an epoch"]
)
def test_where_it_saves_nothing_nothing_is_kept(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(reuse, "keep", lambda *_: pytest.fail("kept for nothing"))
    run, observer = run_with(settings(**{**FREEZE, **changes}), tmp_path, "run")
    assert sentences_about(observer) == []
    assert run.activations_record() is None


def test_new_tokens_train_below_and_that_is_said(settings: Settings, tmp_path: Path) -> None:
    run, observer = run_with(settings(**FREEZE, new_tokens=("<tool>",)), tmp_path, "run")
    expected = "activations below the last layer are computed anew in every step: something below the layers trains as well"
    assert sentences_about(observer) == [expected]
    assert run.is_complete


@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_gradient_work_happens_below_the_lowest_trained_layer(tiny_llama: Path, settings: Settings, checkpointing: bool) -> None:
    """In what `train` builds: what enters the first trained layer hangs on no graph, so nothing below is differentiated."""
    config = settings(method="freeze", trainable_layers=1, activation_checkpointing=checkpointing)
    start = find_start(str(tiny_llama))
    network = make_trainee(start, load_start(start, config), config).network.train()
    entering: list[Tensor] = []
    network.get_decoder().layers[1].register_forward_pre_hook(lambda module, given: entering.append(given[0]))
    examples = random_examples([9, 5], network.config.vocab_size)
    with attending_by_segments(network):
        entering.clear()  # of what a new network is tried with
        pack_loss(network, build_pack(examples, [0, 1], network.device)).total.backward()
    assert [(states.requires_grad, states.grad_fn) for states in entering] == [(False, None)]
    below = [network.get_decoder().embed_tokens, network.get_decoder().layers[0]]
    assert all(parameter.grad is None for module in below for parameter in module.parameters())


def test_with_activation_checkpointing(settings: Settings, tmp_path: Path) -> None:
    plain, _ = run_with(settings(**FREEZE), tmp_path, "plain")
    checkpointed, observer = run_with(settings(**FREEZE, activation_checkpointing=True), tmp_path, "checkpointed")
    assert "kept in memory" in sentences_about(observer)[0]
    torch.testing.assert_close(losses(checkpointed), losses(plain), rtol=1e-4, atol=1e-4)


def test_a_full_disk_is_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reuse, "memory_budget", lambda task: 0)
    monkeypatch.setattr(reuse, "keep", full)
    with pytest.raises(Exception, match="the disk is full while writing to the run"):
        train(settings(**FREEZE), runs_dir=tmp_path, name="run")
    monkeypatch.setattr(reuse, "keep", frozen.keep)
    assert resume(tmp_path / "run").is_complete


def test_the_first_place_with_room() -> None:
    assert choose_place(100, 100, 0) == "memory"
    assert choose_place(101, 100, 101) == "disk"
    assert choose_place(102, 100, 101) is None
