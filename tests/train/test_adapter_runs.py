"""Runs of every kind of adapter: resumed bit for bit, opened as they were trained, continued, and refused when contradictory."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.samples import prepare_qa
from tests.train.helpers import DoAt, StopAt, Stopped, assert_equal_runs, contents
from tunesmith.config import GenerateConfig, LoraConfig, TrainConfig, build
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.engine.quantize import is_quantized
from tunesmith.engine.score import mean_loss, score
from tunesmith.errors import ConfigError, RunError, TrainingInterrupted
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.train import resume, train
from tunesmith.tuned import OpenedModel, open_base, open_tuned
from tunesmith.types import Message

TOKENS = ("<tool>", "</tool>")
LORA = {"rank": 4, "alpha": 8}

KINDS: dict[str, dict[str, Any]] = {
    "lora with dropout": {"lora": {**LORA, "dropout": 0.3}},
    "rslora": {"lora": {**LORA, "rslora": True}},
    "dora with dropout": {"lora": {**LORA, "dora": True, "dropout": 0.3}},
    "qlora with dropout": {"method": "qlora", "lora": {**LORA, "dropout": 0.3}},
    "new tokens": {"lora": LORA, "new_tokens": TOKENS},
    "new tokens, qlora": {"method": "qlora", "lora": LORA, "new_tokens": TOKENS},
    "new tokens, full": {"method": "full", "new_tokens": TOKENS, "learning_rate": 5e-3},
    "new tokens, freeze": {"method": "freeze", "trainable_layers": 1, "new_tokens": TOKENS},
}
NEW = [name for name in KINDS if "new tokens" in name]

Make = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers that use the new tokens."""
    directory = tmp_path_factory.mktemp("data") / "calls"
    prepare_qa(directory, [(f"What is {i} and {i + 1}?", f"<tool>{i} {i % 3}</tool>") for i in range(30)])
    return directory


@pytest.fixture
def make(wide_llama: Path, calls: Path) -> Make:
    """Settings with nothing left open, four steps an epoch."""

    def build_config(kind: str = "", **changes: Any) -> TrainConfig:
        if "qlora" in kind:
            pytest.importorskip("bitsandbytes")
        plain = {"model": str(wide_llama), "data": calls, "dtype": "float32", "device": "cpu", "examples_per_step": 6, "epochs": 2}
        lora = {} if KINDS.get(kind, {}).get("method") in ("full", "freeze") else {"lora": LORA}
        return build(TrainConfig, {**plain, "learning_rate": 1e-2, "evaluate_every": 3, **lora, **KINDS.get(kind, {}), **changes})

    return build_config


def loss_of(opened: OpenedModel, data: Path) -> float:
    return mean_loss(score(opened.hugging_face_network, [opened.renderer.render(e) for e in load_prepared(data).validation]))


def crash(config: TrainConfig, runs_dir: Path, step: int = 5) -> RunDirectory:
    with pytest.raises(Stopped):
        train(config, runs_dir=runs_dir, name="crashed", observer=StopAt(step))
    return open_run(runs_dir / "crashed")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_equals_uninterrupted_and_opens_as_trained(make: Make, calls: Path, tmp_path: Path, kind: str, dtype: str) -> None:
    config = make(kind, dtype=dtype)
    whole = train(config, runs_dir=tmp_path, name="whole")
    run = crash(config, tmp_path)
    resume(run.path)
    assert_equal_runs(run, whole)
    opened, base = open_tuned(run, dtype=dtype), open_base(run, dtype=dtype)
    assert opened.renderer.fingerprint == base.renderer.fingerprint == run.renderer_record()["fingerprint"]
    best = run.manifest()["best_loss"]
    assert loss_of(opened, calls) == pytest.approx(best, rel=1e-5 if dtype == "float32" else 1e-2)
    assert best < loss_of(base, calls)
    assert is_quantized(base.network) == is_quantized(opened.hugging_face_network) == (config.method == "qlora")


@pytest.mark.parametrize("kind", NEW)
class TestNewTokens:
    def test_their_rows_are_trained_and_the_others_not(self, make: Make, tmp_path: Path, kind: str) -> None:
        run = train(make(kind), runs_dir=tmp_path, name="run")
        opened, base = open_tuned(run, dtype="float32"), open_base(run, dtype="float32")
        tokenizer = opened.renderer.tokenizer
        ids = tokenizer.convert_tokens_to_ids(list(TOKENS))
        assert tokenizer.encode("a<tool>b</tool>", add_special_tokens=False)[1::2] == ids
        before, after = (one.hugging_face_network.get_input_embeddings().weight.detach() for one in (base, opened))
        torch.testing.assert_close(before[ids[0]], before[: ids[0]].mean(0))
        assert not torch.isclose(after[ids], before[ids]).all()
        assert torch.equal(after[: ids[0]], before[: ids[0]]) == (run.manifest()["method"] != "full")
        head = opened.hugging_face_network.get_output_embeddings().weight
        assert torch.equal(head[ids], after[ids]), "tied in the base, tied after"

    def test_the_runs_folder_holds_the_whole_tokenizer(self, make: Make, tmp_path: Path, kind: str) -> None:
        run = train(make(kind), runs_dir=tmp_path, name="run")
        saved = AutoTokenizer.from_pretrained(run.model_dir)
        opened = open_tuned(run)
        assert len(saved) == opened.hugging_face_network.get_input_embeddings().weight.shape[0]
        assert saved.get_vocab() == opened.renderer.tokenizer.get_vocab()
        completion = opened.complete([[Message(role="user", content="What is <tool>?")]], GenerateConfig(max_new_tokens=4))[0]
        assert completion.text is not None

    def test_a_run_goes_on_with_them(self, make: Make, calls: Path, tmp_path: Path, kind: str) -> None:
        parent = train(make(kind), runs_dir=tmp_path, name="parent")
        loss = loss_of(open_tuned(parent, dtype="float32"), calls)
        methods = [parent.manifest()["method"], "full"]
        for method in dict.fromkeys(methods):
            lora = {} if method in ("lora", "qlora") else {"lora": {}}
            config = make(model=str(parent.path), method=method, max_steps=1, learning_rate=1e-9, trainable_layers=1, **lora)
            child = train(config, runs_dir=tmp_path, name=f"child-{method}")
            assert loss_of(open_tuned(child, dtype="float32"), calls) == pytest.approx(loss, rel=1e-4)
            assert child.renderer_record()["fingerprint"] == parent.renderer_record()["fingerprint"]
        with pytest.raises(ConfigError, match="--new-tokens: <other> beside an earlier run; expected tokens where training starts"):
            train(make(kind, model=str(parent.path), new_tokens=("<other>",)), runs_dir=tmp_path, name="other")


class TestContradictions:
    def test_settings_of_lora_where_no_adapter_trains(self, make: Make, tmp_path: Path) -> None:
        for method in ("full", "freeze"):
            with pytest.raises(ConfigError, match=rf"settings of LoRA \(dora\) beside --method {method}"):
                train(make(method=method, lora={"dora": True}), runs_dir=tmp_path, name="run")
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
    def test_an_adapter_on_other_base_weights(self, make: Make, tmp_path: Path) -> None:
        for first, second in (("lora", "qlora"), ("qlora", "lora")):
            parent = train(make(method=first, max_steps=1), runs_dir=tmp_path, name=first)
            with pytest.raises(ConfigError, match=f"trained its adapter with --method {first}, on other base weights"):
                train(make(model=str(parent.path), method=second), runs_dir=tmp_path, name="child")

    def test_another_kind_of_adapter_than_the_parents(self, make: Make, tmp_path: Path) -> None:
        parent = train(make("dora with dropout", max_steps=1), runs_dir=tmp_path, name="parent")
        with pytest.raises(ConfigError, match=r"lora: .*rslora=True.*expected .*dora=True"):
            train(make(model=str(parent.path), lora={"rslora": True}), runs_dir=tmp_path, name="child")
        child = train(make(model=str(parent.path), lora={}, max_steps=1), runs_dir=tmp_path, name="child")
        assert child.record()["config"]["lora"] == parent.record()["config"]["lora"]

    @pytest.mark.parametrize("tokens", [("",), (" <a>",), ("<a>", "<a>")])
    def test_no_tokens_at_all(self, tokens: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError, match="different tokens, none of them empty or with spaces around it"):
            build(TrainConfig, {"model": "m", "data": "d", "new_tokens": tokens})

    def test_a_token_there_is(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"--new-tokens: '<\|im_end\|>' is in the model's vocabulary already"):
            train(make(new_tokens=("<tool>", "<|im_end|>")), runs_dir=tmp_path, name="run")


class TestBaseWeights:
    def test_a_run_on_changed_weights_is_refused(self, make: Make, wide_llama: Path, tmp_path: Path) -> None:
        model = Path(shutil.copytree(wide_llama, tmp_path / "model"))
        run = train(make(model=str(model), max_steps=1), runs_dir=tmp_path / "runs", name="run")
        crashed = crash(make(model=str(model)), tmp_path / "runs")
        open_tuned(run)
        state = load_file(model / "model.safetensors")
        save_file({name: weight * 1.01 for name, weight in state.items()}, model / "model.safetensors", metadata={"format": "pt"})
        for attempt in (lambda: open_tuned(run), lambda: open_base(run), lambda: resume(crashed.path)):
            with pytest.raises(
                RunError, match=r"the base model's weights have changed since the run started \(fingerprint \w+\); expected"
            ):
                attempt()
        with pytest.raises(RunError, match="the base model's weights have changed"):
            train(make(model=str(run.path)), runs_dir=tmp_path / "runs", name="child")

    def test_the_same_weights_in_other_files_are_the_same(self, make: Make, wide_llama: Path, tmp_path: Path) -> None:
        model = Path(shutil.copytree(wide_llama, tmp_path / "model"))
        run = train(make(model=str(model), max_steps=1), runs_dir=tmp_path / "runs", name="run")
        state = load_file(model / "model.safetensors")
        save_file(dict(reversed(state.items())), model / "model.safetensors", metadata={"format": "pt", "by": "another version"})
        open_base(run)


class TestOneAtATime:
    def test_a_second_process_is_refused(self, make: Make, tmp_path: Path) -> None:
        config = make()

        def second() -> None:
            before = contents(tmp_path / "run")
            with pytest.raises(RunError, match="another process is training in this run; expected one at a time"):
                resume(tmp_path / "run")
            assert contents(tmp_path / "run") == before

        run = train(config, runs_dir=tmp_path, name="run", observer=DoAt(4, second))
        assert run.is_complete

    def test_a_crashed_run_is_free_again(self, make: Make, tmp_path: Path) -> None:
        run = crash(make(), tmp_path)
        with run.locked():
            pass
        assert resume(run.path).is_complete


def test_a_request_to_terminate_is_like_control_c(make: Make, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingInterrupted, match="stopped at step 4 of 8, which is saved"):
        train(make(), runs_dir=tmp_path, name="run", observer=DoAt(4, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) is before
    run = open_run(tmp_path / "run")
    assert [path.name for path in run.checkpoints()][-1] == "step-00000004"
    assert resume(run.path).is_complete


def test_defaults_of_lora_are_no_contradiction() -> None:
    assert LoraConfig() == LoraConfig(rank=None, alpha=None)
