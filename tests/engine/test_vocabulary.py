"""New tokens: their ids, their first rows, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from tests.engine import reference
from tunesmith.config import LoraConfig
from tunesmith.engine.adapters import add_lora, freeze_all_but_last, save_adapter, save_whole
from tunesmith.engine.loading import LoadedModel
from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.vocabulary import add_new_tokens, token_layers, train_new_rows
from tunesmith.errors import ConfigError

TOKENS = ("<tool>", "</tool>")


def own(loaded: LoadedModel, network: torch.nn.Module | None = None) -> LoadedModel:
    """To be changed at will."""
    return LoadedModel(
        network=network or copy.deepcopy(loaded.network),  # type: ignore[arg-type]
        tokenizer=copy.deepcopy(loaded.tokenizer),
        directory=loaded.directory,
    )


def test_ids_rows_and_ties(loaded: LoadedModel) -> None:
    mine = own(loaded)
    size = loaded.network.config.vocab_size
    assert add_new_tokens(mine, TOKENS) == (size, size + 1)
    weight = mine.network.get_input_embeddings().weight
    assert (len(weight), mine.network.config.vocab_size) == (size + 2, size + 2)
    assert torch.equal(weight[:size], loaded.network.get_input_embeddings().weight)
    torch.testing.assert_close(weight[size:], weight[:size].mean(0).expand(2, -1))
    assert mine.network.get_output_embeddings().weight is weight
    again = own(loaded)
    add_new_tokens(again, TOKENS)
    assert torch.equal(again.network.get_input_embeddings().weight, weight)
    assert again.tokenizer.backend_tokenizer.to_str() == mine.tokenizer.backend_tokenizer.to_str()


def test_they_are_found_in_what_users_write(loaded: LoadedModel) -> None:
    """Users' text is encoded with special tokens switched off; these are none."""
    mine = own(loaded)
    ids = add_new_tokens(mine, TOKENS)
    found = mine.tokenizer("one<tool>two</tool>", add_special_tokens=False, split_special_tokens=True).input_ids
    assert [token for token in found if token in ids] == list(ids)
    assert mine.tokenizer.decode(found, skip_special_tokens=True) == "one<tool>two</tool>"


def test_no_tokens_change_nothing(loaded: LoadedModel) -> None:
    mine = own(loaded)
    assert add_new_tokens(mine, ()) == ()
    assert mine.network.config.vocab_size == loaded.network.config.vocab_size


def test_rows_to_spare_are_used(loaded_llama: LoadedModel) -> None:
    mine = own(loaded_llama)
    size = len(mine.tokenizer)
    mine.network.resize_token_embeddings(size + 44, mean_resizing=False)
    ids = add_new_tokens(mine, TOKENS)
    weight = mine.network.get_input_embeddings().weight
    assert (ids, len(weight)) == ((size, size + 1), size + 44)
    torch.testing.assert_close(weight[size : size + 2], weight[:size].mean(0).expand(2, -1))


def untied(loaded: LoadedModel) -> LoadedModel:
    network = reference.tiny("llama", vocab_size=len(loaded.tokenizer), tie_word_embeddings=False)
    return own(loaded, network)


def test_an_untied_head_has_rows_of_its_own(loaded_llama: LoadedModel, tmp_path: Path) -> None:
    mine = untied(loaded_llama)
    ids = add_new_tokens(mine, TOKENS)
    assert set(token_layers(mine.network)) == {"model.embed_tokens", "lm_head"}
    head, embedding = mine.network.lm_head.weight, mine.network.model.embed_tokens.weight
    for weight in (head, embedding):
        torch.testing.assert_close(weight[list(ids)], weight[: ids[0]].mean(0).expand(2, -1))
    assert not torch.allclose(head, embedding)
    adapted = add_lora(mine.network, LoraConfig(rank=4, alpha=8), "x", new_token_ids=ids)
    rows = [name for name, p in adapted.named_parameters() if p.requires_grad and "tokens_delta" in name]
    assert len(rows) == 2
    save_adapter(adapted, TrainedWeights(adapted, torch.float32).state(), tmp_path)


@pytest.mark.parametrize("tie", [True, False])
def test_frozen_layers_and_trained_rows_are_saved_whole(loaded_llama: LoadedModel, tmp_path: Path, tie: bool) -> None:
    mine = own(loaded_llama) if tie else untied(loaded_llama)
    ids = add_new_tokens(mine, TOKENS)
    start = copy.deepcopy(mine.network)
    freeze_all_but_last(mine.network, 1)
    train_new_rows(mine.network, ids)
    weights = TrainedWeights(mine.network, torch.float32)
    assert sum("tokens_delta" in name for name in weights.masters) == (1 if tie else 2)
    assert any(".layers.1." in name for name in weights.masters)
    assert not any(".layers.0." in name or "base_layer" in name for name in weights.masters)
    with torch.no_grad():
        for master in weights.masters.values():
            master.add_(0.1)
    weights.publish()
    tokens = torch.tensor([[5, ids[0], 40, ids[1]]])
    save_whole(copy.deepcopy(start), weights.state(), tmp_path, ids)
    again = type(start).from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=tokens).logits, mine.network.eval()(input_ids=tokens).logits, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(again(input_ids=tokens).logits, start.eval()(input_ids=tokens).logits, atol=1e-2)


def test_a_token_there_is(loaded_llama: LoadedModel) -> None:
    with pytest.raises(ConfigError, match="--new-tokens: 'e' is in the model's vocabulary already"):
        add_new_tokens(own(loaded_llama), ["<tool>", "e"])


def test_a_head_with_a_bias(loaded_llama: LoadedModel) -> None:
    mine = own(loaded_llama, reference.tiny("phi", vocab_size=len(loaded_llama.tokenizer)))
    with pytest.raises(ConfigError, match="the output head of PhiForCausalLM has a bias"):
        add_new_tokens(mine, TOKENS)
