"""Resumed equals uninterrupted, bit for bit, however the run was interrupted."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from tests.train.helpers import DoAt, StopAt, Stopped, assert_equal_runs, assert_nothing_half_written, contents, lasting_metrics
from tunesmith.config import TrainConfig
from tunesmith.engine.masters import TrainedWeights
from tunesmith.errors import RunError, TrainingInterrupted
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train import checkpoint
from tunesmith.train.observer import Recording
from tunesmith.train.train import resume, train

Settings = Callable[..., TrainConfig]

REPOSITORY = Path(__file__).resolve().parents[2]

RECIPES: dict[str, dict[str, Any]] = {
    "lora with dropout": {"lora": {"rank": 4, "dropout": 0.3}},
    "full": {"method": "full", "weight_decay": 0.1},
    "freeze": {"method": "freeze", "trainable_layers": 1},
    "adafactor": {"method": "full", "optimizer": "adafactor", "learning_rate": 0.01},
    "bfloat16": {"method": "full", "dtype": "bfloat16"},
    "bfloat16, several micro-batches": {"method": "full", "dtype": "bfloat16", "tokens_per_micro_batch": 100, "weight_decay": 0.1},
    "bfloat16, adafactor": {"method": "full", "dtype": "bfloat16", "optimizer": "adafactor", "learning_rate": 0.01},
    "bfloat16, freeze": {"method": "freeze", "trainable_layers": 1, "dtype": "bfloat16"},
    "several micro-batches": {"tokens_per_micro_batch": 100, "tokens_per_step": 300},
}


Uninterrupted = Callable[[TrainConfig], RunDirectory]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """The run that the interrupted one has to equal; made once for equal settings."""
    runs: dict[str, RunDirectory] = {}

    def make(config: TrainConfig) -> RunDirectory:
        key = config.model_dump_json()
        if key not in runs:
            runs[key] = train(config, runs_dir=tmp_path_factory.mktemp("whole"), name="whole")
        return runs[key]

    return make


def crash(config: TrainConfig, runs_dir: Path, name: str, step: int) -> RunDirectory:
    """A run that stops dead right after a step was logged."""
    with pytest.raises(Stopped):
        train(config, runs_dir=runs_dir, name=name, observer=StopAt(step))
    run = open_run(runs_dir / name)
    assert not run.is_complete
    assert run.metrics()[-1]["step"] == step
    return run


@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_equals_uninterrupted(settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted, recipe: str) -> None:
    config = settings(epochs=2, evaluate_every=3, **RECIPES[recipe])
    whole = uninterrupted(config)
    run = crash(config, tmp_path, "crashed", 5)
    assert [path.name for path in run.checkpoints()] == ["step-00000003"]
    observer = Recording()
    assert resume(run.path, observer=observer).path == run.path
    assert observer.steps[0]["step"] == 4
    assert_equal_runs(run, whole)


def test_before_the_first_checkpoint(settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    config = settings(epochs=2, evaluate_every=3, **RECIPES["lora with dropout"])
    whole = uninterrupted(config)
    run = crash(config, tmp_path, "crashed", 1)
    assert run.checkpoints() == []
    resume(run.path)
    assert_equal_runs(run, whole)


def test_crashed_again_and_again(settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    config = settings(epochs=2, evaluate_every=2, **RECIPES["lora with dropout"])
    whole = uninterrupted(config)
    run = crash(config, tmp_path, "crashed", 3)
    for step in (3, 5, 7, 8):
        with pytest.raises(Stopped):
            resume(run.path, observer=StopAt(step))
    resume(run.path)
    assert_equal_runs(run, whole)


def test_crashed_while_writing_the_model(
    settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(epochs=1, method="full")
    whole = uninterrupted(config)
    with monkeypatch.context() as patch:
        patch.setattr("tunesmith.train.train.save_whole", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            train(config, runs_dir=tmp_path, name="crashed")
    run = open_run(tmp_path / "crashed")
    assert not run.model_dir.exists()
    resume(run.path)
    assert_equal_runs(run, whole)


def test_crashed_between_model_and_manifest(
    settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(epochs=1)
    whole = uninterrupted(config)
    with monkeypatch.context() as patch:
        patch.setattr("tunesmith.train.train.peak_memory", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            train(config, runs_dir=tmp_path, name="crashed")
    run = open_run(tmp_path / "crashed")
    assert run.model_dir.exists()
    resume(run.path)
    assert_equal_runs(run, whole)


def test_crashed_after_the_validation_that_ended_it(
    settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped early, then killed before the model was written: the resumed run must not train on."""
    config = settings(method="full", learning_rate=0.05, schedule="constant", warmup_fraction=0.0, epochs=20, evaluate_every=1, patience=3)
    whole = uninterrupted(config)
    assert whole.manifest()["num_steps"] < 80
    with monkeypatch.context() as patch:
        patch.setattr("tunesmith.train.train.restore_best", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            train(config, runs_dir=tmp_path, name="crashed")
    run = open_run(tmp_path / "crashed")
    observer = Recording()
    resume(run.path, observer=observer)
    assert observer.steps == []
    assert_equal_runs(run, whole)


def test_crashed_between_best_weights_and_checkpoint(
    settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(epochs=2, evaluate_every=2)
    whole = uninterrupted(config)
    saves: list[int] = []

    def stop_at_the_third(run: RunDirectory, progress: checkpoint.Progress, *rest: Any) -> None:
        saves.append(progress.step)
        if len(saves) == 3:
            raise Stopped
        checkpoint.save_checkpoint(run, progress, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("tunesmith.train.loop.save_checkpoint", stop_at_the_third)
        with pytest.raises(Stopped):
            train(config, runs_dir=tmp_path, name="crashed")
    run = open_run(tmp_path / "crashed")
    assert sorted(path.name for path in run.best_dir.iterdir()) == ["step-00000004", "step-00000006"]
    resume(run.path)
    assert_equal_runs(run, whole)


def test_torn_files_are_passed_over_and_cleared_away(settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    config = settings(epochs=2, evaluate_every=2)
    whole = uninterrupted(config)
    run = crash(config, tmp_path, "crashed", 5)
    torn = run.checkpoints_dir / ".step-00000006.partial-12345"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"half")
    (run.best_dir / ".step-00000006.partial-12345").mkdir()
    (run.path / ".manifest.json.partial-12345").write_text("{", encoding="utf-8")
    with run.metrics_file.open("a", encoding="utf-8") as file:
        file.write('{"kind": "step", "st')
    resume(run.path)
    assert_nothing_half_written(run)
    assert_equal_runs(run, whole)


def start_subject(config: TrainConfig, runs_dir: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.train.subject", config.model_dump_json(), str(runs_dir), name]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"the run ended by itself: {process.communicate()[1].decode()[-2000:]}")
        assert time.monotonic() < deadline, "the run does not get there"
        time.sleep(0.002)


def test_killed_in_the_middle(settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    """kill -9 of a real process, at a step without a checkpoint."""
    config = settings(epochs=8, evaluate_every=8, lora={"rank": 4, "dropout": 0.3})
    process = start_subject(config, tmp_path, "killed")
    run = RunDirectory(tmp_path / "killed")

    def is_between_checkpoints() -> bool:
        lines = run.metrics()
        return bool(lines) and lines[-1]["step"] > 8 and lines[-1]["step"] % 8 in (1, 2, 3)

    try:
        wait_until(is_between_checkpoints, process)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    last = run.metrics()[-1]["step"]
    assert last % 8 != 0
    assert run.checkpoints()[-1].name == f"step-{last // 8 * 8:08d}"
    assert not run.is_complete
    whole = uninterrupted(config)
    observer = Recording()
    resume(run.path, observer=observer)
    assert observer.steps[0]["step"] == last // 8 * 8 + 1
    assert_equal_runs(run, whole)
    assert_nothing_half_written(run)


class TestControlC:
    def test_the_step_is_finished_and_saved(self, settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
        config = settings(epochs=2, evaluate_every=4, lora={"rank": 4, "dropout": 0.3})
        whole = uninterrupted(config)
        before = signal.getsignal(signal.SIGINT)
        observer = DoAt(3, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(TrainingInterrupted) as caught:
            train(config, runs_dir=tmp_path, name="stopped", observer=observer)
        run = open_run(tmp_path / "stopped")
        assert signal.getsignal(signal.SIGINT) is before
        assert caught.value.exit_code == 130
        assert str(caught.value) == (
            f"{run.path}: stopped at step 3 of 8, which is saved; expected to go on later. To go on: `tunesmith train --resume {run.path}`."
        )
        assert [path.name for path in run.checkpoints()] == ["step-00000003"]
        assert run.metrics()[-1]["step"] == 3
        again = Recording()
        resume(run.path, observer=again)
        assert again.steps[0]["step"] == 4
        assert_equal_runs(run, whole)

    def test_a_second_one_interrupts_at_once(self, settings: Settings, tmp_path: Path) -> None:
        def twice() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train(settings(epochs=2, evaluate_every=2), runs_dir=tmp_path, name="stopped", observer=DoAt(3, twice))
        run = open_run(tmp_path / "stopped")
        assert [path.name for path in run.checkpoints()] == ["step-00000002"]
        resume(run.path)
        assert run.is_complete

    def test_in_the_last_step_there_is_nothing_to_interrupt(self, settings: Settings, tmp_path: Path) -> None:
        run = train(settings(max_steps=3), runs_dir=tmp_path, observer=DoAt(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
        assert run.is_complete

    def test_other_threads_train_without_handler(self, settings: Settings, tmp_path: Path) -> None:
        done: list[RunDirectory] = []
        thread = threading.Thread(target=lambda: done.append(train(settings(max_steps=1), runs_dir=tmp_path)))
        thread.start()
        thread.join()
        assert done[0].is_complete


class FullDisk:
    """Stands in for `save_file`: from one call on there is no room, as safetensors and the system say it."""

    def __init__(self, room_for: int, error: Exception) -> None:
        self.room_for, self.error = room_for, error

    def __call__(self, tensors: Any, path: Path) -> None:
        self.room_for -= 1
        if self.room_for < 0:
            path.write_bytes(b"half")
            raise self.error
        checkpoint_save_file(tensors, path)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Masters are written by `save_to`."""

        def save_to(weights: TrainedWeights, path: Path) -> None:
            self({}, path)
            masters_save_to(weights, path)

        patch.setattr(checkpoint, "save_file", self)
        patch.setattr(TrainedWeights, "save_to", save_to)


masters_save_to = TrainedWeights.save_to
checkpoint_save_file = checkpoint.save_file
FULL = [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")]


@pytest.mark.parametrize(
    ("error", "room_for", "doing", "last_good"),
    [
        (FULL[0], 4, "saving the best weights, of step 4", "step-00000002"),
        (FULL[1], 4, "saving the best weights, of step 4", "step-00000002"),
        (FULL[1], 6, "saving step 4", "step-00000002"),
        (FULL[0], 0, "saving the best weights, of step 2", "the start"),
    ],
    ids=["best, system", "best, safetensors", "checkpoint", "first"],
)
def test_full_disk(
    settings: Settings,
    tmp_path: Path,
    uninterrupted: Uninterrupted,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    room_for: int,
    doing: str,
    last_good: str,
) -> None:
    """One best and one checkpoint are four files; whichever does not fit, the last good checkpoint survives."""
    config = settings(epochs=2, evaluate_every=2)
    whole = uninterrupted(config)
    with monkeypatch.context() as patch:
        FullDisk(room_for, error).patch(patch)
        with pytest.raises(RunError) as caught:
            train(config, runs_dir=tmp_path, name="full")
    run = open_run(tmp_path / "full")
    assert caught.value.found.startswith(f"the disk is full while {doing} (")
    assert caught.value.remedy == f"free some space, then `tunesmith train --resume {run.path}` goes on from {last_good}"
    assert caught.value.exit_code == 2
    assert [path.name for path in run.checkpoints()] == ([] if last_good == "the start" else [last_good])
    assert_nothing_half_written(run)
    resume(run.path)
    assert_equal_runs(run, whole)


def test_full_disk_while_writing_model_or_metrics(
    settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(epochs=2, evaluate_every=2)
    whole = uninterrupted(config)

    def full(*_: Any) -> None:
        raise FULL[0]

    for name, target in (("model", "tunesmith.train.train.save_adapter"), ("metrics", "tunesmith.runs.RunDirectory.append_metrics")):
        with monkeypatch.context() as patch:
            patch.setattr(target, full)
            with pytest.raises(RunError, match="the disk is full while writing to the run"):
                train(config, runs_dir=tmp_path, name=name)
        run = resume(tmp_path / name)
        assert_equal_runs(run, whole)
        assert_nothing_half_written(run)


def test_other_errors_pass_through(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk(0, OSError(errno.EIO, "I/O error")).patch(monkeypatch)
    with pytest.raises(OSError, match="I/O error"):
        train(settings(epochs=1), runs_dir=tmp_path, name="broken")


def test_from_another_working_directory(
    settings: Settings, tiny_llama: Path, faq: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths in the settings are of the directory the run was started in."""
    monkeypatch.chdir(tiny_llama.parent)
    config = settings(model=tiny_llama.name, data=Path(os.path.relpath(faq)), epochs=2, evaluate_every=2)
    run = crash(config, tmp_path, "crashed", 3)
    monkeypatch.chdir(tmp_path)
    resume(Path("crashed"))
    assert run.is_complete


def test_metrics_of_repeated_steps_are_counted_once(settings: Settings, tmp_path: Path) -> None:
    run = crash(settings(epochs=2, evaluate_every=4), tmp_path, "crashed", 7)
    resume(run.path)
    assert [line["step"] for line in run.metrics() if line["kind"] == "step"] == list(range(1, 9))


def test_another_number_of_threads_is_said(settings: Settings, tmp_path: Path) -> None:
    import torch

    run = crash(settings(epochs=1), tmp_path, "crashed", 1)
    torch.set_num_threads(2)
    try:
        observer = Recording()
        resume(run.path, observer=observer)
    finally:
        torch.set_num_threads(1)
    assert any("2 threads instead of the 1" in sentence for sentence in observer.sentences)


def test_nothing_of_a_checkpoint_may_be_missing(settings: Settings, tmp_path: Path, uninterrupted: Uninterrupted) -> None:
    """The three states besides the weights matter: without any of them the resumed run would differ."""
    config = settings(epochs=2, evaluate_every=3, lora={"rank": 4, "dropout": 0.3})
    whole = uninterrupted(config)
    run = crash(config, tmp_path, "crashed", 5)
    other = crash(config.model_copy(update={"seed": 1}), tmp_path, "other", 5)
    for name in ("random.safetensors", "optimizer.safetensors"):
        spoilt = crash(config, tmp_path, f"spoilt-{name}", 5)
        (spoilt.checkpoints()[-1] / name).write_bytes((other.checkpoints()[-1] / name).read_bytes())
        resume(spoilt.path)
        assert contents(spoilt.model_dir) != contents(whole.model_dir)
        assert lasting_metrics(spoilt) != lasting_metrics(whole)
    resume(run.path)
    assert_equal_runs(run, whole)
