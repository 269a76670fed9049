"""Several models in one memory: one network for what shares a base, a name for each, and nothing opened that should not be."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from tests.samples import fixed_answer_pairs, messages, prepare_qa
from tests.tiny_models import build_tiny_llama
from tunesmith.config import GenerateConfig, LoraConfig, TrainConfig
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.errors import AssetError, ConfigError, DataError, RunError
from tunesmith.runs import RunDirectory
from tunesmith.together import ServedModel, open_together
from tunesmith.train.train import train
from tunesmith.tuned import open_base, open_model, open_tuned

QUESTION = messages(("u", "What is 3 and red?"))
CONFIG = GenerateConfig(max_new_tokens=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a prepared data set, and runs beside it."""
    directory = tmp_path_factory.mktemp("together")
    prepare_qa(directory / "data", fixed_answer_pairs(12))
    return directory


@pytest.fixture(scope="module")
def make_run(folder: Path, tiny_llama: Path) -> Callable[..., RunDirectory]:
    """A run that learnt something, made once for a name."""

    def make(name: str, model: Path = tiny_llama, **settings: Any) -> RunDirectory:
        if (folder / name).exists():
            return RunDirectory(folder / name)
        given = {"learning_rate": 1e-2, "max_steps": 4, "dtype": "float32", **settings}
        return train(TrainConfig(model=str(model), data=folder / "data", **given), runs_dir=folder, name=name)

    return make


@pytest.fixture(scope="module")
def faq(make_run: Callable[..., RunDirectory]) -> RunDirectory:
    return make_run("faq")


@pytest.fixture(scope="module")
def tone(make_run: Callable[..., RunDirectory]) -> RunDirectory:
    return make_run("tone.v2", seed=5, lora=LoraConfig(rank=2, dora=True))


@pytest.fixture(scope="module")
def whole(make_run: Callable[..., RunDirectory]) -> RunDirectory:
    return make_run("whole", method="full")


def together(*references: RunDirectory | Path) -> dict[str, ServedModel]:
    paths = [one.path if isinstance(one, RunDirectory) else one for one in references]
    return {model.name: model for model in open_together(paths, dtype="float32")}


def answers(models: dict[str, ServedModel]) -> dict[str, list[int]]:
    """Of models that share a network, asked at once."""
    (base,) = {model.base for model in models.values()}
    decoder = Decoder(base.network, context_length=256, batch_size=4)
    numbers = {decoder.submit(model.request(model.prompt_ids(QUESTION, CONFIG), CONFIG)): name for name, model in models.items()}
    found: dict[str, list[int]] = {name: [] for name in models}
    while not decoder.is_idle:
        for new in decoder.step():
            found[numbers[new.prompt]].append(new.token)
    return found


def by_itself(reference: Path) -> list[int]:
    return list(open_model(reference, dtype="float32").complete([QUESTION], CONFIG)[0].token_ids)


def base_weights(network: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name.replace(".base_layer", ""): weight for name, weight in network.named_parameters() if "lora_" not in name}


class TestSharing:
    def test_two_adapters_on_one_base(self, faq: RunDirectory, tone: RunDirectory, tiny_llama: Path) -> None:
        models = together(faq, tone)
        assert {name: model.adapter for name, model in models.items()} == {"faq": "adapter-1", "tone.v2": "adapter-2", "tiny-llama": None}
        assert len({id(model.base) for model in models.values()}) == 1
        weights, stored = base_weights(models["faq"].base.network), load_file(tiny_llama / "model.safetensors")
        assert len({weight.data_ptr() for weight in weights.values()}) == len(weights) == len(stored)
        assert all(torch.equal(weights[name], value) for name, value in stored.items())
        found = answers(models)
        assert found == {"faq": by_itself(faq.path), "tone.v2": by_itself(tone.path), "tiny-llama": by_itself(tiny_llama)}
        assert len({tuple(ids) for ids in found.values()}) == 3

    def test_the_shared_network_stands_as_the_base(self, faq: RunDirectory, tone: RunDirectory, tiny_llama: Path) -> None:
        network = together(faq, tone)["faq"].base.network
        token_ids = torch.arange(5, 15)[None]
        with torch.no_grad():
            expected = open_model(tiny_llama, dtype="float32").network(token_ids).logits
            torch.testing.assert_close(network(token_ids).logits, expected)
        assert not network.training
        assert not any(parameter.requires_grad for name, parameter in network.named_parameters() if "lora_" in name)

    def test_the_base_in_a_runs_own_words(self, faq: RunDirectory) -> None:
        model = together(faq)["faq"]
        found = answers({"base": replace(model, adapter=None)})["base"]
        assert found == list(open_base(faq, dtype="float32").complete([QUESTION], CONFIG)[0].token_ids)

    def test_whole_models_have_a_network_of_their_own(self, faq: RunDirectory, whole: RunDirectory) -> None:
        models = together(whole, faq)
        assert list(models) == ["whole", "faq", "tiny-llama"]
        assert models["whole"].base is not models["faq"].base
        assert models["whole"].adapter is None
        assert answers({"whole": models["whole"]})["whole"] == by_itself(whole.path)

    def test_a_base_that_is_named_anyway_comes_once_and_in_its_place(self, faq: RunDirectory, tiny_llama: Path, tmp_path: Path) -> None:
        models = together(tiny_llama, faq)
        assert list(models) == ["tiny-llama", "faq"]
        assert models["tiny-llama"].base is models["faq"].base
        copied = Path(shutil.copytree(tiny_llama, tmp_path / "copied"))
        models = together(copied, faq)
        assert list(models) == ["copied", "faq"]
        assert models["copied"].base is models["faq"].base, "the same weights"
        build_tiny_llama(copied, seed=3)
        assert list(together(copied, faq)) == ["copied", "faq", "tiny-llama"]

    def test_a_run_with_new_tokens_shares_with_nobody(self, faq: RunDirectory, make_run: Callable[..., RunDirectory]) -> None:
        tools = make_run("tools", new_tokens=("<tool>",))
        models = together(tools, faq)
        assert list(models) == ["tools", "faq", "tiny-llama"]
        assert models["tools"].base is not models["faq"].base
        assert answers({"tools": models["tools"]})["tools"] == by_itself(tools.path)

    def test_four_bits_are_another_base(self, wide_llama: Path, make_run: Callable[..., RunDirectory]) -> None:
        pytest.importorskip("bitsandbytes")
        plain = make_run("plain", wide_llama)
        small, other = (make_run(name, wide_llama, method="qlora", seed=seed) for name, seed in (("small", 0), ("other", 1)))
        models = together(plain, small, other)
        assert list(models) == ["plain", "small", "other", "wide-llama", "wide-llama-nf4"]
        assert models["small"].base is models["other"].base is models["wide-llama-nf4"].base
        assert models["small"].base is not models["plain"].base
        shared = {name: models[name] for name in ("small", "other")}
        assert answers(shared) == {name: by_itself(models[name].reference) for name in shared}


class TestWhatIsKnownOfThem:
    def test_records(self, faq: RunDirectory, tiny_llama: Path) -> None:
        one, base = open_together([faq.path, tiny_llama], dtype="float32")
        assert (one.reference, one.context_length, one.trained_on_text) == (str(faq.path), 256, False)
        assert one.renderer.fingerprint == faq.renderer_record()["fingerprint"]
        assert abs(one.created - (faq.path / "run.json").stat().st_mtime) < 60
        assert base.created == int((tiny_llama / "config.json").stat().st_mtime)
        assert one.fingerprint != base.fingerprint
        (again, *_) = open_together([faq.path], dtype="float32")
        assert again.fingerprint == one.fingerprint

    def test_prompts_are_cut_as_training_cuts(self, faq: RunDirectory) -> None:
        model, opened = together(faq)["faq"], open_tuned(faq, dtype="float32")
        long = messages(("u", "The quick brown fox. " * 100))
        assert model.prompt_ids(long, CONFIG) == opened.prompt_ids(long, CONFIG, fields={}, place="x")
        with pytest.raises(DataError, match="prompt 7: a prompt of"):
            model.prompt_ids(long, GenerateConfig(max_prompt_tokens=3), place="prompt 7")

    def test_it_says_what_it_loads_once_for_each_network(self, faq: RunDirectory, tone: RunDirectory) -> None:
        said: list[str] = []
        open_together([faq.path, tone.path], dtype="float32", say=said.append)
        assert len([sentence for sentence in said if sentence.startswith("loading ")]) == 1


class TestRefusals:
    def test_one_name_twice(self, faq: RunDirectory, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=rf"two are called 'faq': {faq.path} and {faq.path}; expected a name for each"):
            together(faq, faq)
        other = Path(shutil.copytree(faq.path, tmp_path / "tiny-llama"))
        with pytest.raises(ConfigError, match="two are called 'tiny-llama'"):
            together(faq, other)  # and the base of both

    def test_nothing(self) -> None:
        with pytest.raises(ConfigError, match="none; expected run directories or models"):
            open_together([])

    @pytest.fixture
    def copied(self, faq: RunDirectory, tmp_path: Path) -> RunDirectory:
        return RunDirectory(Path(shutil.copytree(faq.path, tmp_path / "copied")))

    def test_a_renderer_that_has_changed(self, copied: RunDirectory, faq: RunDirectory) -> None:
        copied.write_renderer_record({**copied.renderer_record(), "fingerprint": "0" * 16})
        with pytest.raises(RunError, match="the renderer's fingerprint is"):
            together(faq, copied)

    def test_an_unfinished_run(self, copied: RunDirectory) -> None:
        (copied.path / "manifest.json").unlink()
        with pytest.raises(RunError, match="the run has not finished"):
            together(copied)

    @pytest.mark.parametrize("hostile", [{"model": 3}, {"model": {}}, {"created": "yesterday"}, {"created": None}, {"config": []}])
    def test_damaged_records(self, copied: RunDirectory, hostile: dict[str, object]) -> None:
        (copied.path / "run.json").write_text(json.dumps({**copied.record(), **hostile}), encoding="utf-8")
        with pytest.raises(RunError, match="its records are damaged"):
            together(copied)

    def test_a_pickled_adapter_is_never_opened(self, copied: RunDirectory, tmp_path: Path) -> None:
        (copied.model_dir / "adapter_model.safetensors").unlink()
        (copied.model_dir / "adapter_model.bin").write_bytes(bomb(tmp_path / "exploded"))
        for opening in (lambda: together(copied), lambda: open_tuned(copied, dtype="float32")):
            with pytest.raises(AssetError, match=r"its weights are pickled \(adapter_model.bin\), which can run code"):
                opening()
        assert not (tmp_path / "exploded").exists()

    def test_a_pickled_model_is_never_opened(self, whole: RunDirectory, tmp_path: Path) -> None:
        copied = RunDirectory(Path(shutil.copytree(whole.path, tmp_path / "copied")))
        (copied.model_dir / "model.safetensors").unlink()
        (copied.model_dir / "pytorch_model.bin").write_bytes(bomb(tmp_path / "exploded"))
        for opening in (lambda: together(copied), lambda: open_tuned(copied), lambda: together(copied.model_dir)):
            with pytest.raises(AssetError, match=r"its weights are pickled \(.bin\), which can run code"):
                opening()
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.parametrize("damage", ["gone", "torn", "others", "of another kind"])
    def test_an_adapter_that_does_not_fit(self, copied: RunDirectory, damage: str, faq: RunDirectory, tmp_path: Path) -> None:
        file = copied.model_dir / "adapter_model.safetensors"
        settings_file = copied.model_dir / "adapter_config.json"
        settings = json.loads(settings_file.read_text(encoding="utf-8"))
        if damage == "gone":
            file.unlink()
        elif damage == "torn":
            file.write_bytes(file.read_bytes()[:-100])
        else:
            changed = {"others": {"r": settings["r"] + 1}, "of another kind": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}}
            settings_file.write_text(json.dumps({**settings, **changed[damage]}), encoding="utf-8")
        with pytest.raises(AssetError, match=r"expected adapter_config\.json and adapter_model\.safetensors for this base model"):
            together(faq, copied)

    @pytest.mark.parametrize("beside", [True, False])
    def test_an_adapter_that_lacks_weights(self, copied: RunDirectory, faq: RunDirectory, beside: bool) -> None:
        """peft would leave them at their random start."""
        file = copied.model_dir / "adapter_model.safetensors"
        weights = load_file(file)
        del weights[min(weights)]
        save_file(weights, file)
        with pytest.raises(AssetError, match=r"its weights lack .*lora_A|Found missing adapter keys"):
            together(*([faq] if beside else []), copied)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


def bomb(path: Path) -> bytes:
    return pickle.dumps(Bomb(path))
