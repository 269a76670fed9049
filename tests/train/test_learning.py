"""Training works: every method learns a trivial task in seconds and beats the base, and keeps what was best."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine import reference
from tests.train.helpers import contents, lasting_metrics
from tunesmith.config import GenerateConfig, TrainConfig
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.engine.loading import load_model
from tunesmith.engine.score import mean_loss, score
from tunesmith.runs import RunDirectory
from tunesmith.train.observer import Recording
from tunesmith.train.train import train
from tunesmith.tuned import OpenedModel, open_base, open_tuned

Settings = Callable[..., TrainConfig]

RECIPES = [
    ("lora", "adamw", "float32", 3e-2),
    ("full", "adamw", "float32", 1e-2),
    ("freeze", "adamw", "float32", 1e-2),
    ("lora", "adafactor", "float32", 5e-1),
    ("full", "adafactor", "float32", 1e-1),
    ("lora", "adamw", "bfloat16", 3e-2),
    ("full", "adamw", "bfloat16", 1e-2),
]
"""Method, optimiser, compute type, learning rate."""


def validation_loss(opened: OpenedModel, data: Path) -> float:
    rendered = [opened.renderer.render(example) for example in load_prepared(data).validation]
    return mean_loss(score(opened.hugging_face_network, rendered))


@pytest.mark.parametrize(("method", "optimizer", "dtype", "rate"), RECIPES)
def test_learns_and_beats_the_base(
    settings: Settings, faq: Path, tmp_path: Path, method: str, optimizer: str, dtype: str, rate: float
) -> None:
    config = settings(method=method, optimizer=optimizer, dtype=dtype, epochs=8, learning_rate=rate, trainable_layers=1)
    run = train(config, runs_dir=tmp_path)
    tuned, base = open_tuned(run, dtype=dtype), open_base(run, dtype=dtype)
    before, after = validation_loss(base, faq), validation_loss(tuned, faq)
    assert after < before / 2
    assert after == pytest.approx(run.manifest()["best_loss"], rel=1e-5 if dtype == "float32" else 0.05)
    questions = [example.prompt_messages for example in load_prepared(faq).validation]
    greedy = GenerateConfig(max_new_tokens=20)
    completions = tuned.complete(questions, greedy)
    assert sum(c.text.startswith("The answer is ") for c in completions) > len(questions) / 2
    if method == "full":  # the tiny model's end-of-turn embedding starts at zero, and adapters cannot move it
        assert sum(c.text.endswith(".") and c.finish_reason == "end_of_turn" for c in completions) > len(questions) / 2
    assert not any(c.text.startswith("The answer is ") for c in base.complete(questions, greedy))


def test_a_full_runs_folder_is_the_trained_network(settings: Settings, tmp_path: Path) -> None:
    """It gives bit for bit the logits the trainee ended with; proved through the last validation loss."""
    run = train(settings(method="full", max_steps=4, learning_rate=1e-3), runs_dir=tmp_path)
    network = load_model(run.model_dir, dtype=torch.float32, device=torch.device("cpu")).network
    plain = AutoModelForCausalLM.from_pretrained(run.model_dir, dtype=torch.float32).eval()
    opened = open_tuned(run, dtype="float32")
    examples = [opened.renderer.render(e) for e in load_prepared(Path(run.record()["data"]["directory"])).validation]
    losses = score(network, examples)
    assert mean_loss(losses) == run.manifest()["best_loss"]
    assert losses[0].total == pytest.approx(reference.total_nats(plain, examples[0]), rel=1e-5)


def test_the_best_weights_are_restored(settings: Settings, faq: Path, tmp_path: Path) -> None:
    """A learning rate that ruins the model after a good start: the saved one is the best one, not the last."""
    config = settings(method="full", learning_rate=0.05, schedule="constant", warmup_fraction=0.0, epochs=20, evaluate_every=1, patience=3)
    observer = Recording()
    run = train(config, runs_dir=tmp_path, observer=observer)
    manifest = run.manifest()
    losses = {line["step"]: line["loss"] for line in observer.validations}
    assert manifest["best_loss"] == min(losses.values())
    assert losses[manifest["best_step"]] == manifest["best_loss"]
    assert manifest["num_steps"] == manifest["best_step"] + 3 == max(losses)
    assert any(f"stopped early: no better validation loss since step {manifest['best_step']}" in s for s in observer.sentences)
    assert validation_loss(open_tuned(run, dtype="float32"), faq) == manifest["best_loss"] < losses[manifest["num_steps"]]
    assert [path.name for path in run.best_dir.iterdir()] == [f"step-{manifest['best_step']:08d}"]


def test_validation_knows_no_dropout(settings: Settings, faq: Path, tmp_path: Path) -> None:
    run = train(settings(lora={"rank": 4, "dropout": 0.5}, learning_rate=1e-2, epochs=2), runs_dir=tmp_path)
    assert validation_loss(open_tuned(run, dtype="float32"), faq) == run.manifest()["best_loss"]


def test_patience_zero_never_stops(settings: Settings, tmp_path: Path) -> None:
    config = settings(learning_rate=0.05, schedule="constant", epochs=3, evaluate_every=1, patience=0)
    run = train(config, runs_dir=tmp_path)
    assert run.manifest()["num_steps"] == 12


def test_without_validation_the_last_step_is_kept(settings: Settings, faq_without_validation: Path, tmp_path: Path) -> None:
    observer = Recording()
    run = train(settings(data=faq_without_validation, epochs=2), runs_dir=tmp_path, observer=observer)
    manifest = run.manifest()
    assert (manifest["best_step"], manifest["best_loss"], manifest["num_steps"]) == (None, None, 4)
    assert observer.sentences[-1].endswith("last step kept")
    assert not run.best_dir.exists()


def test_the_same_seed_twice_gives_identical_files(settings: Settings, tmp_path: Path) -> None:
    lora = {"rank": 4, "dropout": 0.2}
    runs = [train(settings(seed=seed, lora=lora, epochs=2), runs_dir=tmp_path, name=f"run{i}") for i, seed in enumerate((1, 1, 2))]
    assert contents(runs[0].model_dir) == contents(runs[1].model_dir)
    assert contents(runs[0].best_dir) == contents(runs[1].best_dir)
    assert lasting_metrics(runs[0]) == lasting_metrics(runs[1])
    assert contents(runs[0].model_dir)["adapter_model.safetensors"] != contents(runs[2].model_dir)["adapter_model.safetensors"]


@pytest.mark.parametrize("method", ["lora", "full", "freeze"])
def test_activation_checkpointing_gives_the_same_losses(settings: Settings, tmp_path: Path, method: str) -> None:
    common: dict[str, Any] = {"method": method, "max_steps": 4, "trainable_layers": 1}
    if method == "lora":
        common["lora"] = {"rank": 4, "dropout": 0.1}
    one = train(settings(**common), runs_dir=tmp_path, name="one")
    other = train(settings(**common, activation_checkpointing=True), runs_dir=tmp_path, name="other")
    assert lasting_metrics(one) == lasting_metrics(other)
    weights = [{k: v for k, v in contents(run.model_dir).items() if k.endswith(".safetensors")} for run in (one, other)]
    assert weights[0] == weights[1]


def test_keep_checkpoints(settings: Settings, tmp_path: Path) -> None:
    for keep in (1, 3):
        run = train(settings(epochs=2, evaluate_every=1, keep_checkpoints=keep), runs_dir=tmp_path, name=f"keep{keep}")
        assert [path.name for path in run.checkpoints()] == [f"step-{step:08d}" for step in range(9 - keep, 9)]


def test_the_run_directory_holds_what_its_page_says(settings: Settings, tiny_llama: Path, faq: Path, tmp_path: Path) -> None:
    observer = Recording()
    run = train(settings(epochs=2), runs_dir=tmp_path, name="faq", observer=observer)
    names = {str(path.relative_to(run.path)) for path in run.path.iterdir()}
    assert names - {".lock"} == {
        "run.json",
        "config.yaml",
        "preflight.json",
        "metrics.jsonl",
        "process.json",
        "renderer.json",
        "checkpoints",
        "best",
        "model",
        "manifest.json",
    }
    record, manifest = run.record(), run.manifest()
    assert record["model"]["directory"] == str(tiny_llama.resolve())
    assert record["data"] == {"directory": str(faq.resolve()), "fingerprint": load_prepared(faq).fingerprint}
    assert record["config"]["learning_rate"] == 5e-4
    assert record["config"]["max_length"] == 256
    assert record["config"]["template"] == "chat"
    assert (record["config"]["dtype"], record["schema_version"], record["parent"]) == ("float32", 1, None)
    assert {"command", "created", "git_commit", "versions", "python", "threads"} <= record.keys()
    assert TrainConfig(**record["config"]).seed == 0

    lines = run.metrics()
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 9))
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4, 6, 8]
    assert steps == observer.steps
    assert [line["epoch"] for line in steps] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 and line["memory_bytes"] > 0 for line in steps)
    assert manifest["num_tokens"] == sum(line["num_tokens"] for line in steps)
    assert manifest["num_supervised"] == sum(line["num_supervised"] for line in steps)
    assert (manifest["method"], manifest["trained_on_text"], manifest["num_steps"]) == ("lora", False, 8)

    preflight = json.loads((run.path / "preflight.json").read_text(encoding="utf-8"))
    assert preflight["train"]["num_examples"] == 32
    assert preflight["validation"]["num_examples"] == 8
    assert run.renderer_record()["fingerprint"] == open_tuned(run).renderer.fingerprint
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= set(contents(run.model_dir))
    assert observer.examples[0].example.source in {e.source for e in load_prepared(faq).train}
    assert any("32 examples x 2 epochs = 8 steps" in sentence for sentence in observer.sentences)


def test_both_architectures_and_raw_text(tiny_gemma: Path, tmp_path: Path) -> None:
    from tunesmith.config import PrepareConfig
    from tunesmith.data.prepare import prepare
    from tunesmith.types import Row

    rows = [Row(values={"text": f"The quick brown fox {i} jumps over the lazy dog. " * 3}, source=f"book.txt:{i}") for i in range(12)]
    prepare(None, tmp_path / "book", PrepareConfig(test_fraction=0.0, validation_fraction=0.2), rows=rows)
    config = TrainConfig(
        model=str(tiny_gemma), data=tmp_path / "book", method="full", dtype="float32", learning_rate=5e-3, epochs=12, examples_per_step=4
    )
    run = train(config, runs_dir=tmp_path / "runs")
    opened = open_tuned(run, dtype="float32")
    assert opened.trained_on_text
    from tests.samples import messages

    (completion,) = opened.complete([messages(("u", "The quick brown fox"))], GenerateConfig(max_new_tokens=30))
    assert "jumps over the lazy" in completion.text
    assert run.manifest()["best_loss"] < 1.0


def test_the_adapter_file_is_float32_whatever_the_compute_type(settings: Settings, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    run = train(settings(dtype="bfloat16", max_steps=2), runs_dir=tmp_path)
    tensors = load_file(run.model_dir / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in tensors.values()), "rounded masters were saved"


def test_list_of_runs(settings: Settings, tmp_path: Path) -> None:
    run: RunDirectory = train(settings(max_steps=1), runs_dir=tmp_path)
    assert "faq" in run.name
    assert run.name.endswith("tiny-llama")
