"""What a run may start from: a model, or an earlier run; and what it refuses before it costs time."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine import reference
from tests.samples import fixed_answer_pairs, prepare_qa
from tests.train.helpers import StopAt, Stopped, contents, lasting_metrics
from tunesmith.config import TrainConfig
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.engine.score import mean_loss, score
from tunesmith.errors import AssetError, ConfigError, DataError, PreflightError, RunError
from tunesmith.runs import RunDirectory
from tunesmith.train.observer import Recording
from tunesmith.train.start import find_start
from tunesmith.train.train import resume, train
from tunesmith.tuned import open_base, open_tuned

Settings = Callable[..., TrainConfig]


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def loss_of(run: RunDirectory, data: Path) -> float:
    opened = open_tuned(run, dtype="float32")
    return mean_loss(score(opened.hugging_face_network, [opened.renderer.render(e) for e in load_prepared(data).validation]))


class TestContinue:
    @pytest.mark.parametrize(
        ("first", "second"),
        [("lora", "lora"), ("full", "full"), ("lora", "full"), ("full", "lora"), ("lora", "freeze"), ("freeze", "lora")],
    )
    def test_it_goes_on_where_the_earlier_run_ended(self, settings: Settings, faq: Path, tmp_path: Path, first: str, second: str) -> None:
        parent = train(settings(method=first, epochs=3, learning_rate=1e-2, trainable_layers=1), runs_dir=tmp_path, name="parent")
        parent_files = contents(parent.path)
        parent_loss = loss_of(parent, faq)
        tiny_step = settings(model=str(parent.path), method=second, max_steps=1, learning_rate=1e-9, trainable_layers=1)
        unchanged = train(tiny_step, runs_dir=tmp_path, name="unchanged")
        assert loss_of(unchanged, faq) == pytest.approx(parent_loss, rel=1e-4)
        better = settings(model=str(parent.path), method=second, epochs=3, learning_rate=1e-2, trainable_layers=1)
        child = train(better, runs_dir=tmp_path, name="child")
        assert loss_of(child, faq) < parent_loss
        assert child.record()["parent"] == str(parent.path.resolve())
        assert contents(parent.path) == parent_files, "the earlier run was changed"

    def test_lora_from_lora_keeps_the_base_and_the_adapters_shape(self, settings: Settings, tiny_llama: Path, tmp_path: Path) -> None:
        parent = train(settings(lora={"rank": 3, "alpha": 5}, max_steps=2), runs_dir=tmp_path, name="parent")
        child = train(settings(model=str(parent.path), max_steps=2), runs_dir=tmp_path, name="child")
        assert child.record()["model"] == parent.record()["model"]
        assert child.record()["model"]["directory"] == str(tiny_llama.resolve())
        assert child.record()["config"]["lora"]["rank"] == 3
        settings_file = json.loads((child.model_dir / "adapter_config.json").read_text(encoding="utf-8"))
        assert (settings_file["r"], settings_file["base_model_name_or_path"]) == (3, str(tiny_llama))
        with pytest.raises(ConfigError, match=r"lora: .*expected .*rank=3"):
            train(settings(model=str(parent.path), lora={"rank": 4}), runs_dir=tmp_path, name="other")

    def test_a_continued_run_is_resumed_bit_for_bit(self, settings: Settings, tmp_path: Path) -> None:
        parent = train(settings(max_steps=2, lora={"rank": 4, "dropout": 0.2}), runs_dir=tmp_path, name="parent")
        for method in ("lora", "full"):
            config = settings(model=str(parent.path), method=method, epochs=2, evaluate_every=3)
            whole = train(config, runs_dir=tmp_path, name=f"whole-{method}")
            with pytest.raises(Stopped):
                train(config, runs_dir=tmp_path, name=f"crashed-{method}", observer=StopAt(5))
            run = resume(tmp_path / f"crashed-{method}")
            assert contents(run.model_dir) == contents(whole.model_dir)
            assert lasting_metrics(run) == lasting_metrics(whole)

    def test_the_template_is_the_parents(self, settings: Settings, tmp_path: Path) -> None:
        parent = train(settings(template="qa", max_steps=1), runs_dir=tmp_path, name="parent")
        child = train(settings(model=str(parent.path), max_steps=1), runs_dir=tmp_path, name="child")
        assert child.renderer_record()["fingerprint"] == parent.renderer_record()["fingerprint"]
        other = train(settings(model=str(parent.path), template="chat", max_steps=1), runs_dir=tmp_path, name="other")
        assert other.renderer_record()["template"]["name"] == "chat"

    def test_an_unfinished_run_is_refused(self, settings: Settings, tmp_path: Path) -> None:
        with pytest.raises(Stopped):
            train(settings(), runs_dir=tmp_path, name="parent", observer=StopAt(1))
        with pytest.raises(RunError, match="the run has not finished"):
            train(settings(model=str(tmp_path / "parent")), runs_dir=tmp_path, name="child")
        assert not (tmp_path / "child").exists()


class TestRenderer:
    @pytest.fixture
    def own_model(self, tiny_llama: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(tiny_llama, tmp_path / "model"))

    def change_template(self, model: Path) -> None:
        file = model / "chat_template.jinja"
        file.write_text(file.read_text(encoding="utf-8").replace("You are helpful", "You are kind"), encoding="utf-8")

    def test_a_changed_template_is_refused_at_opening(self, settings: Settings, own_model: Path, tmp_path: Path) -> None:
        run = train(settings(model=str(own_model), max_steps=1), runs_dir=tmp_path / "runs", name="run")
        assert open_tuned(run).renderer.fingerprint == run.renderer_record()["fingerprint"]
        self.change_template(own_model)
        for opening in (open_tuned, open_base):
            with pytest.raises(RunError, match=r"the renderer's fingerprint is \w+; expected \w+, as in training"):
                opening(run)

    def test_and_at_continuing(self, settings: Settings, own_model: Path, tmp_path: Path) -> None:
        run = train(settings(model=str(own_model), max_steps=1), runs_dir=tmp_path / "runs", name="run")
        self.change_template(own_model)
        with pytest.raises(RunError, match="the renderer's fingerprint"):
            train(settings(model=str(run.path)), runs_dir=tmp_path / "runs", name="child")

    def test_and_at_resuming(self, settings: Settings, own_model: Path, tmp_path: Path) -> None:
        with pytest.raises(Stopped):
            train(settings(model=str(own_model)), runs_dir=tmp_path / "runs", name="run", observer=StopAt(3))
        self.change_template(own_model)
        with pytest.raises(RunError, match="the renderer's fingerprint"):
            resume(tmp_path / "runs" / "run")

    def test_a_users_template_file_may_be_gone(self, settings: Settings, tmp_path: Path) -> None:
        file = tmp_path / "mine.txt"
        file.write_text("Q: {prompt}\nA:", encoding="utf-8")
        with pytest.raises(Stopped):
            train(settings(template=str(file)), runs_dir=tmp_path, name="run", observer=StopAt(3))
        file.unlink()
        run = resume(tmp_path / "run")
        opened = open_tuned(run)
        assert opened.renderer.decode(
            opened.renderer.prompt_ids(load_prepared(run.record()["data"]["directory"]).train[0].prompt_messages)
        ).startswith("Q: What is")


class TestRefusals:
    def test_a_name_that_is_taken_before_anything_is_loaded(self, settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        with pytest.raises(RunError, match=r"taken: a run of this name exists and is never overwritten; expected a free name") as caught:
            train(settings(model="no-such-model"), runs_dir=tmp_path, name="taken")
        assert f"--resume {tmp_path / 'taken'}" in caught.value.remedy

    def test_a_newer_run(self, settings: Settings, tmp_path: Path) -> None:
        with pytest.raises(Stopped):
            train(settings(), runs_dir=tmp_path, name="run", observer=StopAt(1))
        edit_json(tmp_path / "run" / "run.json", schema_version=2)
        for attempt in (resume, lambda path: find_start(str(path))):
            with pytest.raises(RunError, match=r"run.json: schema version 2; expected at most 1 .* install a newer tunesmith"):
                attempt(tmp_path / "run")

    def test_changed_data(self, settings: Settings, tmp_path: Path) -> None:
        data = tmp_path / "data"
        prepare_qa(data, fixed_answer_pairs(20))
        with pytest.raises(Stopped):
            train(settings(data=data), runs_dir=tmp_path, name="run", observer=StopAt(1))
        before = contents(tmp_path / "run")
        shutil.rmtree(data)
        with pytest.raises(DataError, match="no such directory"):
            resume(tmp_path / "run")
        prepare_qa(data, fixed_answer_pairs(21))
        with pytest.raises(RunError, match=r"has changed since the run started \(fingerprint \w+\); expected fingerprint \w+"):
            resume(tmp_path / "run")
        after = contents(tmp_path / "run")
        assert {name for name in before if after.pop(name, None) != before[name]} == {"process.json"}  # which says that this one failed
        assert not after

    def test_a_complete_run(self, settings: Settings, tmp_path: Path) -> None:
        run = train(settings(max_steps=1), runs_dir=tmp_path, name="run")
        with pytest.raises(RunError, match=r"the run is complete; expected an interrupted run. To go on: continue from it with --model"):
            resume(run.path)

    def test_not_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"there is no run.json; expected a run directory"):
            resume(tmp_path / "nowhere")

    def test_an_unknown_model(self, settings: Settings, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match="no-such-model"):
            train(settings(model="no-such-model"), runs_dir=tmp_path, name="run")
        assert not (tmp_path / "run").exists()

    def test_over_length_is_exit_3_and_leaves_no_run(self, settings: Settings, tmp_path: Path) -> None:
        with pytest.raises(PreflightError) as caught:
            train(settings(max_length=40), runs_dir=tmp_path, name="run")
        assert caught.value.exit_code == 3
        assert not (tmp_path / "run").exists()

    def test_over_length_dropped_in_both_splits_is_said_and_kept(self, settings: Settings, tmp_path: Path) -> None:
        data = tmp_path / "data"
        long = "The quick brown fox jumps. " * 10
        prepare_qa(data, [(f"{i} {long if i % 3 == 0 else ''}?", f"{i}.") for i in range(40)])
        observer = Recording()
        run = train(settings(data=data, max_length=60, over_length="drop", max_steps=1), runs_dir=tmp_path, name="run", observer=observer)
        preflight = json.loads((run.path / "preflight.json").read_text(encoding="utf-8"))
        for split in ("train", "validation"):
            dropped = len(preflight[split]["dropped"])
            assert dropped > 0
            assert any(f"({dropped} over 60 tokens dropped" in sentence for sentence in observer.sentences)

    def test_raw_text_among_conversations(self, settings: Settings, tmp_path: Path) -> None:
        from tunesmith.config import PrepareConfig
        from tunesmith.data.prepare import prepare

        (tmp_path / "a.jsonl").write_text('{"text": "one"}\n', encoding="utf-8")
        (tmp_path / "b.jsonl").write_text('{"question": "one?", "answer": "two"}\n', encoding="utf-8")
        config = PrepareConfig(test_fraction=0.0, validation_fraction=0.0)
        prepare([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "data", config)
        with pytest.raises(DataError, match="1 raw texts among 2 examples"):
            train(settings(data=tmp_path / "data"), runs_dir=tmp_path, name="run")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_architecture_that_packing_would_change_trains_in_padded_batches(
    settings: Settings, tiny_llama: Path, tmp_path: Path, method: str
) -> None:
    """With the losses that each example has alone, in training as in validation, and it is said."""
    model = tmp_path / "bloom"
    shutil.copytree(tiny_llama, model)
    reference.tiny("bloom", vocab_size=420, n_layer=2, n_head=4).save_pretrained(model)
    observer = Recording()
    config = settings(model=str(model), method=method, epochs=3, learning_rate=1e-2)
    run = train(config, runs_dir=tmp_path, name="run", observer=observer)
    (sentence,) = (sentence for sentence in observer.sentences if "padded batches" in sentence)
    assert "BloomForCausalLM does not attend through transformers' attention interface" in sentence
    opened = open_tuned(run, dtype="float32")
    examples = [opened.renderer.render(example) for example in load_prepared(config.data).validation]
    alone = float(reference.mean_loss(opened.hugging_face_network, examples).detach())
    assert run.manifest()["best_loss"] == pytest.approx(alone, rel=1e-4)
    losses = [line["loss"] for line in run.metrics() if line["kind"] == "step"]
    assert losses[-1] < 0.8 * losses[0]


def test_an_adapter_names_a_model_that_peft_can_load(settings: Settings, tiny_llama: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    run = train(settings(max_steps=2), runs_dir=tmp_path, name="run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        by_peft = AutoPeftModelForCausalLM.from_pretrained(str(run.model_dir)).eval()
    tokens = torch.tensor([[5, 9, 40, 8]])
    with torch.no_grad():
        expected = open_tuned(run, dtype="float32").network(input_ids=tokens).logits
        torch.testing.assert_close(by_peft(input_ids=tokens).logits, expected, rtol=1e-5, atol=1e-5)


def test_no_warning_reaches_the_user(settings: Settings, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, changes in {
            "lora": {},
            "full": {"method": "full", "dtype": "bfloat16"},
            "saving": {"activation_checkpointing": True},
        }.items():
            open_tuned(train(settings(max_steps=1, **changes), runs_dir=tmp_path, name=name))
        parent = str(tmp_path / "lora")
        train(settings(model=parent, max_steps=1), runs_dir=tmp_path, name="child")
        train(settings(model=parent, max_steps=1, method="full"), runs_dir=tmp_path, name="grandchild")
