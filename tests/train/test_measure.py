"""Measuring before a run: what is measured, and that nothing of the run is changed by it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.helpers import StopAt, Stopped, assert_equal_runs
from tests.train.tasks import make_task, random_judged, random_pairs
from tunesmith.config import TrainConfig
from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.room import Peak
from tunesmith.errors import ConfigError
from tunesmith.runs import open_run
from tunesmith.train import foresee as foresee_module
from tunesmith.train import measure
from tunesmith.train import train as train_module
from tunesmith.train.estimate import Cost
from tunesmith.train.foresee import SHORT_RUN, foresee, workload_of
from tunesmith.train.loop import Task
from tunesmith.train.measure import Instruments, choose_members, measure_run, undisturbed
from tunesmith.train.micro_batches import choose_tokens_per_micro_batch, different_sizes, identify
from tunesmith.train.observer import Recording
from tunesmith.train.optimizer import make_optimizer, moments_bytes
from tunesmith.train.train import resume, train

Settings = Callable[..., TrainConfig]

GB = 10**9


class Clock:
    """Every look at it is a second later than the last."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@dataclasses.dataclass
class Scale:
    """A process that takes so much memory in turn, in a machine that has so much."""

    peaks: list[int]
    total: int

    @contextmanager
    def watch(self, device: torch.device) -> Iterator[Peak]:
        del device
        yield Peak(self.peaks.pop(0))

    def instruments(self) -> Instruments:
        return Instruments(clock=Clock(), watch=self.watch, room=lambda device: self.total)


COST = Cost(
    num_parameters=10**6,
    num_trainable=10**6,
    state_bytes=0,
    flops_per_step=6e9,
    num_steps=1,
    tokens_per_step=100.0,
    supervised_per_step=50.0,
)


def test_the_micro_batches_that_are_measured() -> None:
    lengths = [40, 3, 17, 60, 9, 25, 8, 31]
    chosen = choose_members(lengths, [[0, 1], [3, 5], [4, 6, 2], [7, 0, 5]], tokens_per_micro_batch=70)
    assert chosen.short == [1]
    assert chosen.typical == [3]  # of the step of 85 tokens, the middle one of 34, 43, 85 and 96
    assert chosen.worst == [0, 5]  # 40 + 25; 60 and 25 do not go together, neither do 40 and 31
    assert choose_members([90], [[0]], 70).worst == [0], "an example that is longer than a micro-batch has one of its own"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_is_changed(tiny_llama: Path, dtype: torch.dtype) -> None:
    task = make_task(tiny_llama, dtype)
    modules = list(task.trainee.network.modules())
    modules[3].training = True  # a mixture of modes, as adapters leave it
    modes = [module.training for module in modules]
    before = {name: tensor.clone() for name, tensor in task.trainee.network.state_dict().items()}
    masters = {name: tensor.clone() for name, tensor in task.trainee.weights.state().items()}
    random = torch.get_rng_state()
    measured = measure_run(task, workload_of(task, COST))
    assert (measured.short.tokens, measured.worst.tokens, measured.worst_is_reckoned) == (3, 193, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.trainee.network.state_dict().items())
    assert all(torch.equal(tensor, masters[name]) for name, tensor in task.trainee.weights.state().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in modules] == modes
    assert all(p.grad is None for p in (*task.trainee.weights.masters.values(), *task.trainee.network.parameters()))
    assert not task.optimizer.state


def test_random_numbers_drawn_meanwhile_are_put_back(tiny_llama: Path) -> None:
    task = make_task(tiny_llama)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(7))
    torch.manual_seed(7)
    with undisturbed(task):
        torch.rand(100)
    assert torch.equal(torch.rand(3), expected)


def test_what_the_clock_and_the_scale_say(tiny_llama: Path) -> None:
    task = make_task(tiny_llama)
    scale = Scale([5 * GB, 6 * GB, 7 * GB], total=100 * GB)
    found = measure_run(task, workload_of(task, COST), scale.instruments())
    assert [one.peak_bytes for one in (found.short, found.typical, found.worst)] == [5 * GB, 6 * GB, 7 * GB]
    assert [one.seconds for one in (found.short, found.typical, found.worst)] == [1.0, 1.0, 1.0]
    assert found.update_seconds == 1.0
    assert found.seconds == 15.0  # two looks for each of seven measured things and one at the end


def test_what_takes_long_is_not_repeated(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "LONG", 0.5)
    task = make_task(tiny_llama)
    found = measure_run(task, workload_of(task, COST), Scale([GB] * 3, total=100 * GB).instruments())
    assert found.seconds == 9.0


@pytest.mark.parametrize("objective", ["dpo", "kto", "orpo"])
def test_preferences_are_measured_before_the_starting_network_is_asked(tiny_llama: Path, objective: str) -> None:
    pairs = random_judged(8, 400) if objective == "kto" else random_pairs(8, 400)
    task = make_task(tiny_llama, train=pairs, objective=objective, beta=None if objective == "orpo" else 0.1)
    assert measure_run(task, workload_of(task, COST)).worst.tokens == sum(pairs.lengths)
    assert (workload_of(task, COST).reference_tokens > 0) == (objective != "orpo")


class TestDoesNotFit:
    @pytest.fixture(autouse=True)
    def nothing_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What other tests of this process took is not this run's."""
        monkeypatch.setattr(measure, "peak_memory", lambda device: 0)
        monkeypatch.setattr(measure, "memory_in_use", lambda device: GB // 2)

    def refuse(self, task: Task, peaks: list[int], total: int) -> str:
        with pytest.raises(ConfigError, match="expected a run that fits") as caught:
            foresee(task, COST, Scale(peaks, total).instruments())
        return str(caught.value)

    def test_settings_that_would_fit_are_reckoned(self, tiny_llama: Path) -> None:
        """10 MB a token: 3, 193 and 193 tokens take 2.03, 3.93 and 3.93 GB."""
        task = make_task(tiny_llama)
        text = self.refuse(task, [2_030_000_000, 3_930_000_000, 3_930_000_000], total=3_500_000_000)
        assert re.search(r"needs about 3\.93 GB and 3\.50 GB can be had", text)
        assert re.search(r"--tokens-per-micro-batch 128 \(needs 3\.28 GB\)", text)
        assert re.search(r"--activation-checkpointing \(needs 2\.9\d GB\)", text)
        assert re.search(r"a model of at most \d+ million parameters", text)

    def test_what_cannot_run_is_not_run(self, tiny_llama: Path) -> None:
        task = make_task(tiny_llama, tokens_per_micro_batch=60, examples_per_step=2)
        scale = Scale([1 * GB, 4 * GB], total=2 * GB)  # a third look would fail
        with pytest.raises(ConfigError, match="can be had"):
            foresee(task, COST, scale.instruments())
        assert scale.peaks == []

    def test_full_training_is_told_of_adapters(self, tiny_llama: Path) -> None:
        task = make_task(tiny_llama, method="full")
        workload = workload_of(task, COST)
        state = workload.gradient_bytes + workload.moments_bytes
        text = self.refuse(task, [GB, GB, GB], total=GB + workload.moments_bytes - 1)
        assert state > 16 * 16 * 2 * (48 * 5 + 48 * 2 + 16 * 2 + 96 * 3)
        assert "--method lora (needs " in text

    def test_a_run_that_is_refused_leaves_nothing(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def scarce(task: Task, cost: Cost) -> Any:
            return foresee(task, cost, Scale([GB] * 3, total=GB // 2).instruments())

        monkeypatch.setattr(train_module, "foresee", scarce)
        with pytest.raises(ConfigError, match="memory: the run needs"):
            train(settings(epochs=5), runs_dir=tmp_path, name="large")
        assert list(tmp_path.iterdir()) == []

    def test_a_model_that_cannot_even_be_loaded(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(train_module, "room", lambda device, sharing: 100_000)
        with pytest.raises(ConfigError, match=r"memory: the run needs .* use --method qlora"):
            train(settings(max_steps=1), runs_dir=tmp_path)


@pytest.mark.parametrize(
    "recipe",
    [{"lora": {"rank": 4, "dropout": 0.3}}, {"method": "full", "dtype": "bfloat16"}],
    ids=["lora with dropout", "full in bfloat16"],
)
def test_a_measured_run_is_bit_for_bit_the_run_that_was_not(settings: Settings, tmp_path: Path, recipe: dict[str, Any]) -> None:
    common = {"epochs": 5, "evaluate_every": 5, **recipe}
    measured = train(settings(**common), runs_dir=tmp_path, name="measured")
    plain = train(settings(**common, estimate=False), runs_dir=tmp_path, name="plain")
    assert measured.record()["estimate"] is not None
    assert plain.record()["estimate"] is None
    assert_equal_runs(measured, plain)
    with pytest.raises(Stopped):
        train(settings(**common), runs_dir=tmp_path, name="crashed", observer=StopAt(7))
    assert_equal_runs(resume(tmp_path / "crashed"), plain)
    assert open_run(tmp_path / "crashed").manifest()["estimate"]["estimated_seconds"] > 0


def test_what_a_run_says_of_its_time(settings: Settings, tmp_path: Path) -> None:
    observer = Recording()
    run = train(settings(max_steps=SHORT_RUN, epochs=5), runs_dir=tmp_path, observer=observer)
    assert any(re.fullmatch(r"about .* \(.* to .*\), peak memory .* GB of .* GB that there are", said) for said in observer.sentences)
    assert any(re.fullmatch(r"estimated .* and .* GB, took .* GB \([+-]\d+ %, [+-]\d+ %\)", said) for said in observer.sentences)
    error = run.manifest()["estimate"]
    assert error["seconds_error"] == pytest.approx(error["estimated_seconds"] / error["seconds"] - 1)
    assert error["peak_bytes"] == run.manifest()["peak_memory_bytes"]


def test_a_short_run_is_not_measured(settings: Settings, tmp_path: Path) -> None:
    observer = Recording()
    run = train(settings(max_steps=SHORT_RUN - 1, epochs=5), runs_dir=tmp_path, observer=observer)
    assert run.record()["estimate"] is None
    assert run.manifest()["estimate"] is None
    assert not any(said.startswith(("about", "estimated")) for said in observer.sentences)


def test_the_defaults_are_in_the_run(settings: Settings, tmp_path: Path) -> None:
    record = train(settings(max_steps=1, epochs=2), runs_dir=tmp_path).record()
    assert record["config"]["learning_rate"] == record["defaults"]["learning_rate"]["value"] == 5e-4
    assert record["config"]["lora"]["rank"] == record["defaults"]["lora.rank"]["value"] == 16
    assert "epochs" not in record["defaults"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("shape", [(5, 7), (11,)])
def test_moments_are_counted_as_they_are_allocated(optimizer: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    network = torch.nn.ParameterList([torch.zeros(shape)])
    weights = TrainedWeights(network, dtype, in_halves=dtype == torch.bfloat16 and optimizer == "adamw")
    made = make_optimizer(weights, TrainConfig(model="m", data=Path("d"), optimizer=optimizer))
    weights.add_gradient("0", torch.ones(shape, dtype=dtype))
    made.step()
    (state,) = made.state.values()
    allocated = sum(value.element_size() * value.numel() for value in state.values() if value.dim() > 0)
    assert moments_bytes(weights, optimizer) == allocated


class TestMicroBatches:
    @pytest.fixture(autouse=True)
    def own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("tunesmith.train.micro_batches.LONG_RUN_TOKENS", 100)
        monkeypatch.setattr("tunesmith.train.micro_batches.CANDIDATES", (64, 100, 1024))
        return tmp_path / "cache" / "micro-batches"

    def tools(self, seconds: list[float], peaks: list[int]) -> Instruments:
        """Each candidate's two runs take so long; the clock is looked at before and after each."""
        looks = iter([0.0, 0.0, 0.0, seconds[0], 0.0, 0.0, 0.0, seconds[1], 0.0, 0.0, 0.0, seconds[2]])
        scale = Scale(peaks, total=10 * GB)
        return Instruments(clock=lambda: next(looks), watch=scale.watch, room=lambda device: scale.total)

    @pytest.mark.parametrize(
        ("seconds", "peaks", "chosen"),
        [
            ([3.0, 2.0, 4.0], [GB, GB, GB], 100),
            ([3.0, 3.9, 4.0], [GB, GB, GB], 64),
            ([3.9, 3.9, 4.0], [GB, GB, GB], 1024),
            ([3.0, 2.0, 4.0], [GB, 11 * GB, GB], 64),
        ],
        ids=["quickest", "another", "not clearly", "does not fit"],
    )
    def test_the_quickest_that_fits_is_remembered(
        self, tiny_llama: Path, own_cache: Path, seconds: list[float], peaks: list[int], chosen: int
    ) -> None:
        task = make_task(tiny_llama)
        assert choose_tokens_per_micro_batch(task, "tiny", self.tools(seconds, list(peaks))) == chosen
        (file,) = own_cache.iterdir()
        record = json.loads(file.read_text(encoding="utf-8"))
        assert record["tokens_per_micro_batch"] == chosen
        assert [one["seconds"] for one in record["tried"]] == seconds
        assert choose_tokens_per_micro_batch(task, "tiny", self.tools([0.0] * 3, [])) == chosen, "it was tried again"

    def test_other_models_have_their_own(self, tiny_llama: Path) -> None:
        task = make_task(tiny_llama)
        assert identify(task, "one") != identify(task, "other")
        full = dataclasses.replace(task, config=task.config.model_copy(update={"method": "full"}))
        assert identify(full, "one") != identify(task, "one")

    def test_short_runs_take_the_usual_one(self, tiny_llama: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tunesmith.train.micro_batches.LONG_RUN_TOKENS", 194)
        assert choose_tokens_per_micro_batch(make_task(tiny_llama), "tiny", self.tools([0.0] * 3, [])) == 1024
        assert not own_cache.exists()

    def test_only_sizes_that_differ_are_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tunesmith.train.micro_batches.CANDIDATES", (512, 1024, 2048))
        assert [different_sizes(tokens, 1024) for tokens in (400, 700, 1500, 3000)] == [
            [1024],
            [512, 1024],
            [512, 1024, 2048],
            [512, 1024, 2048],
        ]


def test_foresee_is_what_train_calls() -> None:
    assert train_module.foresee is foresee_module.foresee
