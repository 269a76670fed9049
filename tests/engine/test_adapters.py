"""What trains, its float32 masters, and the files it is saved in."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.engine import reference
from tests.samples import random_examples
from tunesmith.config import LoraConfig
from tunesmith.engine.adapters import add_lora, as_base, freeze_all_but_last, load_adapter, save_adapter, save_whole
from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.loading import LoadedModel
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.merging import merge
from tunesmith.engine.packing import build_pack
from tunesmith.engine.score import score
from tunesmith.errors import ConfigError

TOKENS = torch.tensor([[5, 9, 40, 8, 33, 7, 12, 90, 3, 17, 21]])


@torch.no_grad()
def logits(network: nn.Module) -> Tensor:
    found: Tensor = network(input_ids=TOKENS).logits
    return found


def adapted(network: PreTrainedModel, **settings: object) -> peft.PeftModel:
    """The network with an adapter that does something."""
    return reference.with_adapter(network, "owner/base", **{"alpha": 32, **settings}).eval()


class TestLora:
    def test_a_fresh_adapter_changes_nothing(self, loaded: LoadedModel, network: PreTrainedModel) -> None:
        assert torch.equal(logits(add_lora(network, LoraConfig(rank=16, alpha=32), "x").eval()), logits(loaded.network))

    def test_all_linear_but_the_head(self, network: PreTrainedModel) -> None:
        result = add_lora(network, LoraConfig(rank=3, alpha=6), "x")
        trained = {name for name, p in result.named_parameters() if p.requires_grad}
        layers = network.config.num_hidden_layers
        assert len(trained) == layers * 7 * 2
        assert not any("lm_head" in name or "embed" in name for name in trained)
        assert all(result.get_parameter(name).shape[0 if "lora_A" in name else 1] == 3 for name in trained)

    def test_named_targets(self, network: PreTrainedModel) -> None:
        result = add_lora(network, LoraConfig(rank=4, alpha=8, targets="q_proj, self_attn.v_proj"), "x")
        trained = {name.split(".lora_")[0].rpartition(".")[2] for name, p in result.named_parameters() if p.requires_grad}
        assert trained == {"q_proj", "v_proj"}

    @pytest.mark.parametrize("targets", ["nope", "q_proj,vproj", "lm_head", "q_proj,embed_tokens", "norm", "proj", ""])
    def test_a_name_that_is_not_found_is_an_error_even_beside_one_that_is(self, network: PreTrainedModel, targets: str) -> None:
        with pytest.raises(
            ConfigError, match=r"is not a linear layer .*expected all-linear or some of down_proj, gate_proj, k_proj, o_proj"
        ):
            add_lora(network, LoraConfig(rank=4, alpha=8, targets=targets), "x")

    def test_no_warning_reaches_the_user(self, network: PreTrainedModel, tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = adapted(network)
            save_adapter(result, TrainedWeights(result, torch.float32).state(), tmp_path)

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own call here
    def test_peft_loads_what_we_saved(self, loaded: LoadedModel, network: PreTrainedModel, tmp_path: Path) -> None:
        result = adapted(network)
        save_adapter(result, TrainedWeights(result, torch.float32).state(), tmp_path)
        assert {"adapter_config.json", "adapter_model.safetensors"} <= {file.name for file in tmp_path.iterdir()}
        settings = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
        assert (settings["r"], settings["lora_alpha"], settings["base_model_name_or_path"]) == (4, 32.0, "owner/base")
        by_peft = peft.PeftModel.from_pretrained(copy.deepcopy(loaded.network), str(tmp_path)).eval()
        assert torch.equal(logits(by_peft), logits(result))
        assert torch.equal(logits(load_adapter(copy.deepcopy(loaded.network), tmp_path).eval()), logits(result))
        assert not torch.allclose(logits(result), logits(loaded.network), atol=1e-2)

    def test_merged_equals_adapter(self, network: PreTrainedModel) -> None:
        result = adapted(network)
        before = logits(result)
        merged = merge(result)
        assert not any("lora" in name for name, _ in merged.named_parameters())
        torch.testing.assert_close(logits(merged), before, rtol=1e-4, atol=1e-4)

    def test_as_base_is_the_untouched_base(self, loaded: LoadedModel, network: PreTrainedModel) -> None:
        result = adapted(network)
        with_adapter = logits(result)
        with as_base(result):
            assert torch.equal(logits(network), logits(loaded.network))
        assert torch.equal(logits(result), with_adapter)
        with as_base(loaded.network):
            assert torch.equal(logits(loaded.network), logits(loaded.network))

    def test_an_adapter_goes_on_training_from_its_files(self, loaded: LoadedModel, network: PreTrainedModel, tmp_path: Path) -> None:
        result = adapted(network)
        save_adapter(result, TrainedWeights(result, torch.float32).state(), tmp_path)
        again = load_adapter(copy.deepcopy(loaded.network), tmp_path, trainable=True)
        trainable = {name for name, p in again.named_parameters() if p.requires_grad}
        assert trainable == {name for name, p in result.named_parameters() if p.requires_grad}
        assert not any(p.requires_grad for p in load_adapter(copy.deepcopy(loaded.network), tmp_path).parameters())


class TestFreeze:
    def test_the_last_layers_and_the_final_norm(self, network: PreTrainedModel) -> None:
        freeze_all_but_last(network, 1)
        trained = {name for name, p in network.named_parameters() if p.requires_grad}
        last = network.config.num_hidden_layers - 1
        assert trained == {name for name, _ in network.named_parameters() if name.startswith((f"model.layers.{last}.", "model.norm."))}

    def test_only_they_get_gradients(self, network: PreTrainedModel) -> None:
        freeze_all_but_last(network, 1)
        examples = random_examples([12, 9], network.config.vocab_size)
        with attending_by_segments(network):
            pack_loss(network, build_pack(examples, [0, 1], network.device)).total.backward()
        assert {n for n, p in network.named_parameters() if p.grad is not None} == {
            n for n, p in network.named_parameters() if p.requires_grad
        }

    def test_more_layers_than_there_are(self, network: PreTrainedModel) -> None:
        layers = network.config.num_hidden_layers
        freeze_all_but_last(network, layers)
        with pytest.raises(ConfigError, match=f"trainable_layers: {layers + 1}; expected at most the model's {layers}"):
            freeze_all_but_last(network, layers + 1)

    @pytest.mark.parametrize(("kind", "norm"), [("gpt2", "ln_f"), ("gpt_neox", "final_layer_norm"), ("opt", "final_layer_norm")])
    def test_the_final_norm_by_other_names(self, kind: str, norm: str) -> None:
        network = reference.tiny(kind, ffn_dim=64, word_embed_proj_dim=32)
        freeze_all_but_last(network, 1)
        assert any(f".{norm}." in f".{name}" and p.requires_grad for name, p in network.named_parameters())
        assert not any("embed" in name or "wte" in name for name, p in network.named_parameters() if p.requires_grad)


class TestMasters:
    def test_in_float32_master_and_weight_are_one(self, network: PreTrainedModel) -> None:
        weights = TrainedWeights(network, torch.float32)
        assert all(weights.masters[name] is parameter for name, parameter in network.named_parameters())
        assert weights.num_parameters == sum(p.numel() for p in network.parameters())

    def test_in_bfloat16_masters_stay_exact(self, loaded: LoadedModel, network: PreTrainedModel) -> None:
        weights = TrainedWeights(network, torch.bfloat16)
        for name, original in loaded.network.named_parameters():
            assert torch.equal(weights.masters[name], original)
            assert torch.equal(weights.parameters[name], original.bfloat16())
        assert {p.dtype for p in network.parameters()} == {torch.bfloat16}

    def test_frozen_weights_are_converted_too(self, network: PreTrainedModel) -> None:
        result = adapted(network)
        weights = TrainedWeights(result, torch.bfloat16)
        assert {p.dtype for p in result.parameters()} == {torch.bfloat16}
        assert {m.dtype for m in weights.masters.values()} == {torch.float32}

    def test_gradients_add_up_in_float32(self) -> None:
        """256 + 1 is 256 in bfloat16: eight micro-batches of 1 would vanish."""
        layer = nn.Linear(1, 1, bias=False)
        weights = TrainedWeights(layer, torch.bfloat16)
        for factor in (256.0, *[1.0] * 8):
            (layer(torch.ones(1, 1, dtype=torch.bfloat16)) * factor).sum().backward()
            assert layer.weight.grad is None
        assert float(weights.masters["weight"].grad) == 264.0

    def test_small_updates_are_not_lost_and_rounded_ones_published(self) -> None:
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        weights = TrainedWeights(layer, torch.bfloat16)
        published = []
        for _ in range(8):
            with torch.no_grad():
                weights.masters["weight"] += 2**-10
            weights.publish()
            published.append(float(layer.weight.detach()))
        assert float(weights.masters["weight"].detach()) == 1 + 2**-7
        assert published[:3] == [1.0, 1.0, 1.0]
        assert published[-1] == 1 + 2**-7

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_state_and_load(self, network: PreTrainedModel, dtype: torch.dtype) -> None:
        weights = TrainedWeights(network, dtype)
        saved = {name: tensor.clone() for name, tensor in weights.state().items()}
        before = logits(network)
        with torch.no_grad():
            for master in weights.masters.values():
                master.add_(0.1)
        weights.publish()
        assert not torch.equal(logits(network), before)
        weights.load(saved)
        assert torch.equal(logits(network), before)

    def test_weights_of_another_network_are_not_taken(self, network: PreTrainedModel) -> None:
        with pytest.raises(AssertionError, match="other parameters"):
            TrainedWeights(network, torch.float32).load({"x": torch.zeros(1)})


class TestSaveWhole:
    def test_from_pretrained_gives_the_same_logits(self, loaded: LoadedModel, network: PreTrainedModel, tmp_path: Path) -> None:
        weights = TrainedWeights(network, torch.float32)
        with torch.no_grad():
            for master in weights.masters.values():
                master.mul_(1.5)
        save_whole(copy.deepcopy(loaded.network), weights.state(), tmp_path)
        again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
        torch.testing.assert_close(logits(again), logits(network), rtol=1e-5, atol=3e-5)
        assert not torch.equal(logits(again), logits(loaded.network))

    def test_what_did_not_train_is_as_before(self, loaded: LoadedModel, network: PreTrainedModel, tmp_path: Path) -> None:
        freeze_all_but_last(network, 1)
        weights = TrainedWeights(network, torch.bfloat16)
        save_whole(copy.deepcopy(loaded.network), weights.state(), tmp_path)
        again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
        for name, parameter in again.named_parameters():
            assert torch.equal(parameter, loaded.network.get_parameter(name))  # not rounded through bfloat16


def test_score_sees_the_adapter(loaded: LoadedModel, network: PreTrainedModel) -> None:
    examples = random_examples([20, 11], network.config.vocab_size)
    result = adapted(network)
    tuned = score(network, examples)
    assert tuned != score(loaded.network, examples)
    with as_base(result):
        assert score(network, examples) == score(loaded.network, examples)
    assert tuned[0].total == pytest.approx(reference.total_nats(result, examples[0]), rel=1e-5)
