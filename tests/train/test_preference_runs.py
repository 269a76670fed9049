"""Whole runs with preference objectives: they learn, they resume bit for bit, and refuse what does not suit the data."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.samples import COLOURS, HELD_OUT
from tests.train.helpers import StopAt, Stopped, assert_equal_runs, assert_nothing_half_written, contents
from tests.train.test_resume import start_subject, wait_until
from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.engine.score import score
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.observer import Recording
from tunesmith.train.train import resume, train
from tunesmith.tuned import OpenedModel, open_base, open_tuned
from tunesmith.types import Row

Settings = Callable[..., TrainConfig]
COUNT = 40

OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "dpo": {"objective": "dpo"},
    "ipo": {"objective": "dpo", "dpo_loss": "ipo"},
    "kto": {"objective": "kto"},
    "orpo": {"objective": "orpo", "orpo_lambda": 1.0},
}


def questions() -> list[tuple[str, str, str]]:
    """The better answer names the colour that was asked about, the worse one the next colour."""
    return [
        (f"What is {i} and {COLOURS[i % 3]}?", f"The answer is {COLOURS[i % 3]}.", f"The answer is {COLOURS[(i + 1) % 3]}.")
        for i in range(COUNT)
    ]


def prepared(directory: Path, rows: list[dict[str, Any]]) -> Path:
    located = [Row(values=values, source=f"faq.csv:{i + 2}") for i, values in enumerate(rows)]
    prepare(None, directory, PrepareConfig(**HELD_OUT), rows=located)
    return directory


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": prompt, "chosen": better, "rejected": worse} for prompt, better, worse in questions()]
    return prepared(tmp_path_factory.mktemp("data") / "pairs", rows)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": prompt, "completion": better, "label": True} for prompt, better, _ in questions()]
    rows += [{"prompt": prompt, "completion": worse, "label": False} for prompt, _, worse in questions()]
    return prepared(tmp_path_factory.mktemp("data") / "judged", rows)


@pytest.fixture
def recipe(settings: Settings, pairs: Path, judged: Path) -> Callable[..., TrainConfig]:
    """Settings of one objective on the data it needs."""

    def make(name: str, **changes: Any) -> TrainConfig:
        data = judged if name == "kto" else pairs
        plain = {"data": data, "learning_rate": 1e-2, "epochs": 2, "examples_per_step": 8, "lora": {"rank": 4}, "evaluate_every": 3}
        if changes.get("method", "lora") != "lora":
            del plain["lora"]
        return settings(**{**plain, **OBJECTIVES[name], **changes})

    return make


def preference_accuracy(opened: OpenedModel, data: Path) -> float:
    """Share of the validation questions whose better answer the model finds more likely per token."""
    rows = {prompt: (better, worse) for prompt, better, worse in questions()}
    right = []
    for example in {e.prompt: e for e in load_prepared(data).validation}.values():
        nats = []
        for answer in rows[example.prompt]:
            messages = (*example.prompt_messages, dataclasses.replace(example.messages[-1], content=answer))
            one = dataclasses.replace(example, messages=messages, rejected=None, label=None)
            (loss,) = score(opened.hugging_face_network, [opened.renderer.render(one)])
            nats.append(loss.total / loss.num_supervised)
        right.append(nats[0] < nats[1])
    return sum(right) / len(right)


LEARNING = [
    ("dpo", "lora", "float32", 1e-2),
    ("ipo", "lora", "float32", 1e-2),
    ("kto", "lora", "float32", 1e-2),
    ("orpo", "lora", "float32", 2e-2),
    ("dpo", "full", "float32", 3e-3),
    ("kto", "full", "float32", 3e-3),
    ("dpo", "lora", "bfloat16", 1e-2),
]


@pytest.mark.parametrize(("name", "method", "dtype", "rate"), LEARNING)
def test_learns_and_beats_the_base(
    recipe: Callable[..., TrainConfig], tmp_path: Path, name: str, method: str, dtype: str, rate: float
) -> None:
    observer = Recording()
    config = recipe(name, method=method, dtype=dtype, learning_rate=rate, epochs=20, evaluate_every=10, patience=0)
    run = train(config, runs_dir=tmp_path, observer=observer)
    before = preference_accuracy(open_base(run, dtype=dtype), config.data)
    after = preference_accuracy(open_tuned(run, dtype=dtype), config.data)
    manifest = run.manifest()
    assert before < 0.8 < 0.95 <= after
    assert manifest["best_validation"]["reward_accuracy"] >= 0.9
    assert manifest["best_validation"]["loss"] == manifest["best_loss"] < observer.validations[0]["loss"]
    assert manifest["objective"] == config.objective
    assert observer.steps[-1]["reward_accuracy"] > observer.steps[0]["reward_accuracy"]


class TestMetrics:
    NAMES: Mapping[str, set[str]] = {
        "dpo": {"reward_accuracy", "reward_margin", "preference_accuracy", "chosen_log_ratio", "rejected_log_ratio"},
        "ipo": {"reward_accuracy", "reward_margin", "preference_accuracy", "chosen_log_ratio", "rejected_log_ratio"},
        "kto": {"reward_accuracy", "reward_margin", "kl", "chosen_log_ratio", "rejected_log_ratio"},
        "orpo": {"reward_accuracy", "log_odds_ratio", "sft_loss", "chosen_log_probability", "rejected_log_probability"},
    }

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_each_objective_has_its_own(self, recipe: Callable[..., TrainConfig], tmp_path: Path, name: str) -> None:
        run = train(recipe(name), runs_dir=tmp_path)
        steps = [line for line in run.metrics() if line["kind"] == "step"]
        validations = [line for line in run.metrics() if line["kind"] == "validation"]
        for line in (*steps, *validations):
            assert self.NAMES[name] <= line.keys()
        assert all(line["num_terms"] == 8 for line in steps)
        best = next(line for line in validations if line["step"] == run.manifest()["best_step"])
        assert run.manifest()["best_validation"] == {key: best[key] for key in ("loss", *run.manifest()["best_validation"])}
        assert run.record()["config"]["objective"] == OBJECTIVES[name]["objective"]
        assert run.record()["config"]["beta"] == (None if name == "orpo" else 0.1)
        assert run.reference_dir.is_dir() == (name != "orpo")

    def test_the_last_sentence_tells_the_accuracy(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        observer = Recording()
        train(recipe("dpo"), runs_dir=tmp_path, observer=observer)
        assert any("reward accuracy" in sentence and "(before: " in sentence for sentence in observer.sentences)

    def test_the_first_loss_is_that_of_no_preference(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        for name, loss in {"dpo": 0.693147, "ipo": 25.0, "kto": 0.5}.items():
            run = train(recipe(name, max_steps=1), runs_dir=tmp_path, name=name)
            assert run.metrics()[0]["loss"] == pytest.approx(loss, rel=1e-4)


def crash(config: TrainConfig, runs_dir: Path, step: int) -> RunDirectory:
    with pytest.raises(Stopped):
        train(config, runs_dir=runs_dir, name="crashed", observer=StopAt(step))
    return open_run(runs_dir / "crashed")


class TestResume:
    @pytest.mark.parametrize("method", ["lora", "full"])
    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_resumed_equals_uninterrupted(self, recipe: Callable[..., TrainConfig], tmp_path: Path, name: str, method: str) -> None:
        changes = {"lora": {"rank": 4, "dropout": 0.3}} if method == "lora" else {}
        config = recipe(name, method=method, tokens_per_micro_batch=200, max_steps=8, **changes)
        whole = train(config, runs_dir=tmp_path, name="whole")
        run = crash(config, tmp_path, 5)
        reference = contents(run.reference_dir) if run.reference_dir.exists() else None
        resume(run.path)
        assert_equal_runs(run, whole)
        if reference is not None:
            assert contents(run.reference_dir) == reference == contents(whole.reference_dir)

    def test_before_the_first_checkpoint(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        config = recipe("dpo", max_steps=4)
        whole = train(config, runs_dir=tmp_path, name="whole")
        run = crash(config, tmp_path, 2)
        assert run.checkpoints() == []
        resume(run.path)
        assert_equal_runs(run, whole)

    @pytest.mark.parametrize("name", ["dpo", "kto"])
    def test_before_the_references_were_whole(
        self, recipe: Callable[..., TrainConfig], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = recipe(name, max_steps=4)
        whole = train(config, runs_dir=tmp_path, name="whole")

        def stop(directory: Path, references: object) -> None:
            (directory.parent / f".{directory.name}.partial-12345").mkdir()
            raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr("tunesmith.train.reference.save_references", stop)
            with pytest.raises(Stopped):
                train(config, runs_dir=tmp_path, name="crashed")
        run = open_run(tmp_path / "crashed")
        resume(run.path)
        assert_equal_runs(run, whole)
        assert_nothing_half_written(run)

    def test_the_references_are_not_asked_for_again(
        self, recipe: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = crash(recipe("dpo"), tmp_path, 5)

        def never(*_: object) -> None:
            pytest.fail("they are in the run directory")

        monkeypatch.setattr("tunesmith.train.objectives.measure_reference", never)
        resume(run.path)
        assert run.is_complete

    def test_other_references_give_another_model(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        """What is stored is what is used."""
        from tunesmith.train.reference import FILE, load_references, save_references

        config = recipe("dpo")
        whole = train(config, runs_dir=tmp_path, name="whole")
        run = crash(config, tmp_path, 5)
        loaded = load_references(run.reference_dir)
        (run.reference_dir / FILE).unlink()
        run.reference_dir.rmdir()
        save_references(
            run.reference_dir, {name: dataclasses.replace(one, nats=one.nats + torch.tensor([3.0, 0.0])) for name, one in loaded.items()}
        )
        resume(run.path)
        assert contents(run.model_dir) != contents(whole.model_dir)

    @pytest.mark.parametrize("name", ["dpo", "kto"])
    def test_killed_in_the_middle(self, recipe: Callable[..., TrainConfig], tmp_path: Path, name: str) -> None:
        config = recipe(name, epochs=6, lora={"rank": 4, "dropout": 0.3}, evaluate_every=8, patience=0)
        process = start_subject(config, tmp_path, "killed")
        run = RunDirectory(tmp_path / "killed")
        try:
            wait_until(lambda: bool(lines := run.metrics()) and lines[-1]["step"] > 8 and lines[-1]["step"] % 8 in (1, 2, 3), process)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not run.is_complete
        whole = train(config, runs_dir=tmp_path, name="whole")
        resume(run.path)
        assert_equal_runs(run, whole)
        assert_nothing_half_written(run)


class TestContinuing:
    def test_the_reference_of_a_continued_adapter_includes_it(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        parent = train(recipe("orpo", max_steps=4), runs_dir=tmp_path, name="parent")
        child = train(recipe("dpo", max_steps=1, model=str(parent.path), lora={}), runs_dir=tmp_path, name="child")
        assert child.metrics()[0]["loss"] == pytest.approx(0.693147, rel=1e-4)

    def test_sft_then_dpo_with_all_weights(
        self, recipe: Callable[..., TrainConfig], pairs: Path, settings: Settings, tmp_path: Path
    ) -> None:
        parent = train(settings(data=pairs, objective="sft", max_steps=4), runs_dir=tmp_path, name="parent")
        child = train(recipe("dpo", max_steps=2, method="full", model=str(parent.path)), runs_dir=tmp_path, name="child")
        assert child.metrics()[0]["loss"] == pytest.approx(0.693147, rel=1e-4)


class TestDataAndObjective:
    def say(self, config: TrainConfig, tmp_path: Path) -> tuple[RunDirectory, list[str]]:
        observer = Recording()
        return train(config, runs_dir=tmp_path, observer=observer), observer.sentences

    @pytest.mark.parametrize(("name", "objective", "what"), [("dpo", "dpo", "preference pairs"), ("kto", "kto", "judged answers")])
    def test_auto_goes_by_the_data(self, recipe: Callable[..., TrainConfig], tmp_path: Path, name: str, objective: str, what: str) -> None:
        run, sentences = self.say(recipe(name, objective="auto", max_steps=1), tmp_path)
        assert run.manifest()["objective"] == run.record()["config"]["objective"] == objective
        assert f"objective {objective}, because the data are {what}" in sentences

    def test_auto_of_plain_answers_is_sft(self, settings: Settings, tmp_path: Path) -> None:
        run, sentences = self.say(settings(max_steps=1), tmp_path)
        assert run.manifest()["objective"] == "sft"
        assert not any(sentence.startswith("objective") for sentence in sentences)

    def test_sft_on_pairs_trains_the_chosen_answers(
        self, settings: Settings, pairs: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        plain = prepared(tmp_path_factory.mktemp("plain"), [{"prompt": p, "completion": better} for p, better, _ in questions()])
        run, sentences = self.say(settings(data=pairs, objective="sft", max_steps=3), tmp_path / "a")
        assert any(sentence.startswith("sft on preference pairs: the chosen answers are trained") for sentence in sentences)
        expected, _ = self.say(settings(data=plain, max_steps=3), tmp_path / "b")
        assert [line["loss"] for line in run.metrics()] == [line["loss"] for line in expected.metrics()]
        assert json.loads((run.path / "preflight.json").read_text(encoding="utf-8"))["train"]["num_examples"] == 32

    def test_sft_on_judged_answers_trains_the_desirable_ones(self, settings: Settings, judged: Path, tmp_path: Path) -> None:
        run, sentences = self.say(settings(data=judged, objective="sft", max_steps=1), tmp_path)
        train_split = load_prepared(judged).train
        desirable = sum(example.label is True for example in train_split)
        text = f"sft on judged answers: the {desirable} desirable ones are trained, {len(train_split) - desirable} left out"
        assert any(sentence.startswith(text) for sentence in sentences)
        assert json.loads((run.path / "preflight.json").read_text(encoding="utf-8"))["train"]["num_examples"] == desirable

    def test_sft_of_undesirable_answers_alone(self, settings: Settings, tmp_path: Path) -> None:
        data = prepared(tmp_path / "data", [{"prompt": p, "completion": worse, "label": False} for p, _, worse in questions()])
        with pytest.raises(DataError, match=r"all 32 answers to train on are undesirable; .* use --objective kto"):
            train(settings(data=data, objective="sft"), runs_dir=tmp_path, name="run")

    @pytest.mark.parametrize("objective", ["dpo", "orpo", "kto"])
    def test_preferences_need_their_data(self, settings: Settings, tmp_path: Path, objective: str) -> None:
        with pytest.raises(ConfigError, match=rf"objective {objective}: the data are conversations; expected .* --objective sft"):
            train(settings(objective=objective), runs_dir=tmp_path, name="run")
        assert not (tmp_path / "run").exists()

    def test_pairs_and_judged_answers_are_not_exchangeable(self, settings: Settings, pairs: Path, judged: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"objective kto: the data are preference pairs; .* use --objective dpo"):
            train(settings(data=pairs, objective="kto"), runs_dir=tmp_path)
        with pytest.raises(ConfigError, match=r"objective dpo: the data are judged answers; .* use --objective kto"):
            train(settings(data=judged, objective="dpo"), runs_dir=tmp_path)

    @pytest.mark.parametrize(
        ("name", "changes", "setting"),
        [
            ("orpo", {"beta": 0.2}, "beta: set to 0.2 while the objective is orpo"),
            ("dpo", {"desirable_weight": 2.0}, "desirable_weight: set to 2.0 while the objective is dpo"),
            ("kto", {"dpo_loss": "ipo"}, "dpo_loss: set to ipo while the objective is kto"),
            ("dpo", {"orpo_lambda": 0.3}, "orpo_lambda: set to 0.3 while the objective is dpo"),
        ],
    )
    def test_a_setting_of_another_objective(
        self, recipe: Callable[..., TrainConfig], tmp_path: Path, name: str, changes: dict[str, Any], setting: str
    ) -> None:
        with pytest.raises(ConfigError, match=f"{setting}; expected it only with objective"):
            train(recipe(name, **changes), runs_dir=tmp_path)

    def test_kto_needs_company(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="examples_per_step: 1 with objective kto"):
            train(recipe("kto", examples_per_step=1), runs_dir=tmp_path)

    def test_the_balance_of_labels_is_said(self, recipe: Callable[..., TrainConfig], tmp_path: Path) -> None:
        rows = [{"prompt": p, "completion": better, "label": i % 4 == 0} for i, (p, better, _) in enumerate(questions())]
        data = prepared(tmp_path / "data", rows)
        _, sentences = self.say(recipe("kto", data=data, max_steps=1), tmp_path / "runs")
        sentence = next(one for one in sentences if one.startswith("kto: "))
        assert "--desirable-weight" in sentence
        weight = float(sentence.split("--desirable-weight ")[1].split()[0])
        _, sentences = self.say(recipe("kto", data=data, max_steps=1, desirable_weight=weight), tmp_path / "again")
        assert next(one for one in sentences if one.startswith("kto: ")).endswith("undesirable answers")


class TestEvaluating:
    def test_a_pairs_reference_is_the_chosen_answer(self, recipe: Callable[..., TrainConfig], pairs: Path, tmp_path: Path) -> None:
        run = train(recipe("dpo", max_steps=3), runs_dir=tmp_path)
        report = evaluate_run(run, EvaluateConfig(split="validation", generation=GenerateConfig(max_new_tokens=4)))
        records = [json.loads(line) for line in run.evaluation_records_file.read_text(encoding="utf-8").splitlines()]
        assert {record["reference"] for record in records} == {example.reference for example in load_prepared(pairs).validation}
        assert report.num_examples == 8
        assert run.html_report_file.is_file()

    def test_undesirable_answers_are_no_references(self, recipe: Callable[..., TrainConfig], judged: Path, tmp_path: Path) -> None:
        run = train(recipe("kto", max_steps=3), runs_dir=tmp_path)
        said: list[str] = []
        report = evaluate_run(run, EvaluateConfig(split="validation", generation=GenerateConfig(max_new_tokens=4)), say=said.append)
        desirable = sum(bool(example.label) for example in load_prepared(judged).validation)
        assert 0 < desirable == report.num_examples < len(load_prepared(judged).validation)
        assert f"{len(load_prepared(judged).validation) - desirable} examples whose answers are undesirable" in said[0]
