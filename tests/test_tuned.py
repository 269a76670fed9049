"""Opening models by any reference, with the renderer each has to be used with."""

from __future__ import annotations

import shutil
from pathlib import Path

import peft
import pytest
import torch

from tests.samples import fixed_answer_pairs, messages, prepare_qa
from tunesmith.config import GenerateConfig, PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import AssetError, DataError, RunError
from tunesmith.runs import RunDirectory
from tunesmith.train.train import train
from tunesmith.tuned import OpenedModel, open_base, open_model, open_tuned
from tunesmith.types import Row

TOKENS = torch.tensor([[5, 9, 40, 8, 33]])


@pytest.fixture(scope="module", params=["lora", "full"])
def run(request: pytest.FixtureRequest, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("tuned")
    prepare_qa(directory / "faq", fixed_answer_pairs(12), template="qa")
    config = TrainConfig(model=str(tiny_llama), data=directory / "faq", method=request.param, learning_rate=1e-2, epochs=2, dtype="float32")
    return train(config, runs_dir=directory / "runs", name="run")


@torch.no_grad()
def logits(opened: OpenedModel) -> torch.Tensor:
    found: torch.Tensor = opened.network(input_ids=TOKENS).logits
    return found


def test_a_run_by_its_path(run: RunDirectory) -> None:
    opened = open_model(str(run.path), dtype="float32")
    assert torch.equal(logits(opened), logits(open_tuned(run, dtype="float32")))
    assert isinstance(opened.network, peft.PeftModel) == (run.manifest()["method"] == "lora")
    assert not opened.network.training
    assert not opened.trained_on_text


def test_base_and_tuned_read_the_same_tokens(run: RunDirectory, tiny_llama: Path) -> None:
    tuned, base = open_tuned(run, dtype="float32"), open_base(run, dtype="float32")
    plain = open_model(str(tiny_llama), dtype="float32")
    assert torch.equal(logits(base), logits(plain))
    assert not torch.equal(logits(base), logits(tuned))
    assert tuned.renderer.fingerprint == base.renderer.fingerprint == run.renderer_record()["fingerprint"]
    assert tuned.renderer.template.name == "qa"
    assert plain.renderer.template.name == "chat"


def test_completions_leave_the_prompt_out_and_come_in_order(run: RunDirectory) -> None:
    opened = open_tuned(run, dtype="float32")
    config = GenerateConfig(max_new_tokens=5)
    conversations = [messages(("u", "What is 1?")), messages(("s", "Be kind."), ("u", "What is 2 and red?")), messages(("u", ""))]
    done: list[int] = []
    found = opened.complete(conversations, config, on_progress=done.append)
    assert found == [opened.complete([conversation], config)[0] for conversation in conversations]
    assert done == [1, 2, 3]
    assert all(len(completion.token_ids) <= 5 for completion in found)


def test_a_long_prompt_is_cut_as_training_cuts(run: RunDirectory) -> None:
    opened = open_tuned(run, dtype="float32")
    long = messages(("u", "The quick brown fox. " * 100))
    config = GenerateConfig(max_new_tokens=6)
    ids = opened.prompt_ids(long, config, fields={}, place="prompt 1")
    assert ids == opened.renderer.fit_prompt(long, {}, 250, place="prompt 1")
    assert len(ids) <= 250
    short = config.model_copy(update={"max_prompt_tokens": 40})
    assert len(opened.prompt_ids(long, short, fields={}, place="prompt 1")) <= 40
    with pytest.raises(DataError, match=r"prompt 1: a prompt of \d+ tokens; expected at most 3"):
        opened.prompt_ids(long, config.model_copy(update={"max_prompt_tokens": 3}), fields={}, place="prompt 1")


def test_an_unfinished_run(run: RunDirectory, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run.path, tmp_path / "copied"))
    (copied / "manifest.json").unlink()
    for opening in (lambda: open_model(str(copied)), lambda: open_base(RunDirectory(copied))):
        with pytest.raises(RunError, match="the run has not finished"):
            opening()


def test_a_base_model_that_is_gone(tiny_llama: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    prepare_qa(tmp_path / "faq", fixed_answer_pairs(6))
    run = train(TrainConfig(model=str(model), data=tmp_path / "faq", max_steps=1), runs_dir=tmp_path, name="run")
    shutil.rmtree(model)
    with pytest.raises(AssetError, match=str(model)):
        open_tuned(run)


def test_an_unknown_model() -> None:
    with pytest.raises(AssetError, match="no-such-model"):
        open_model("no-such-model")


@pytest.fixture(scope="module")
def text_model(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    directory = tmp_path_factory.mktemp("text")
    rows = [Row(values={"text": f"The quick brown fox {i}."}, source=f"book.txt:{i}") for i in range(6)]
    prepare(None, directory / "book", PrepareConfig(test_fraction=0.0, validation_fraction=0.0), rows=rows)
    config = TrainConfig(model=str(tiny_llama), data=directory / "book", max_steps=1, dtype="float32")
    return open_tuned(train(config, runs_dir=directory, name="run"), dtype="float32")


class TestRawText:
    def test_a_prompt_is_continued_as_it_stands(self, text_model: OpenedModel) -> None:
        ids = text_model.prompt_ids(messages(("u", "The quick")), GenerateConfig(max_new_tokens=6), fields={}, place="x")
        assert text_model.renderer.decode(ids) == "The quick"

    @pytest.mark.parametrize(("text", "found"), [("fox " * 300, r"a text of \d+ tokens"), ("", "a text of 0 tokens to continue")])
    def test_what_cannot_be_continued(self, text_model: OpenedModel, text: str, found: str) -> None:
        with pytest.raises(DataError, match=f"prompt 1: {found}"):
            text_model.complete([messages(("u", text))], GenerateConfig(max_new_tokens=6))

    def test_max_prompt_tokens_counts(self, text_model: OpenedModel) -> None:
        with pytest.raises(DataError, match="expected 1 to 2"):
            text_model.complete([messages(("u", "The quick brown fox"))], GenerateConfig(max_new_tokens=6, max_prompt_tokens=2))
