"""Tokens that the model did not have: in the tokenizer, in the embedding and in the output head.

>>> add_new_tokens(loaded, ["<tool>", "</tool>"])
(49152, 49153)

Deterministic: the same base and the same tokens give the same tokenizer and the same first rows, so a run is opened again
from its base model, its tokens and its trained rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import peft
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.engine.loading import LoadedModel, add_to_tokenizer
from tunesmith.engine.quantize import peft_for
from tunesmith.errors import ConfigError

ROWS = ".trainable_tokens_delta."
"""Within the name of a parameter that peft keeps the rows of new tokens in."""


@torch.no_grad()
def add_new_tokens(loaded: LoadedModel, tokens: Sequence[str]) -> tuple[int, ...]:
    """Add `tokens` to tokenizer and network, in place, and tell their ids. Each starts as the mean of all former tokens.

    They are ordinary tokens: found wherever their text stands, in what users write too.

    Raises:
        ConfigError: a token is in the vocabulary already, or the output head has a bias, which peft's token rows leave out.
    """
    if not tokens:
        return ()
    network, tokenizer = loaded.network, loaded.tokenizer
    known = [token for token in tokens if token in tokenizer.get_vocab()]
    if known:
        raise _refused(f"{known[0]!r} is in the model's vocabulary already", "tokens it does not have", "leave it out")
    if getattr(network.get_output_embeddings(), "bias", None) is not None:
        found = f"the output head of {type(network).__name__} has a bias"
        raise _refused(found, "a head without, as the adapter's format supports", "name another model, or leave out --new-tokens")
    num_old = len(tokenizer)
    add_to_tokenizer(tokenizer, tokens)
    ids = tuple(tokenizer.convert_tokens_to_ids(list(tokens)))
    if len(tokenizer) > network.get_input_embeddings().weight.shape[0]:  # many models have rows to spare
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for layer in token_layers(network).values():
        weight: Any = layer.weight
        weight[list(ids)] = weight[:num_old].float().mean(0).to(weight.dtype)
    return ids


def token_layers(network: PreTrainedModel) -> dict[str, nn.Module]:
    """The layers with a row for each token, by name: the embedding, and the output head unless the two are tied."""
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    layers = [embedding] if head.weight is embedding.weight else [embedding, head]
    return {name: module for name, module in network.named_modules() if any(module is layer for layer in layers)}


def train_new_rows(network: PreTrainedModel, ids: Sequence[int]) -> None:
    """Make the rows of these tokens trainable by themselves, whatever else trains."""
    settings = peft.TrainableTokensConfig(token_indices=list(ids), target_modules=list(token_layers(network)), task_type="CAUSAL_LM")
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    with warnings.catch_warnings(), peft_for(network):
        # The tied head follows: peft wraps it with the embedding's own rows.
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        peft.inject_adapter_in_model(settings, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained or ROWS in name)


@torch.no_grad()
def write_trained(start: PreTrainedModel, masters: Mapping[str, Tensor], ids: Sequence[int]) -> None:
    """Put trained weights into `start`, one by one, and the trained rows of new tokens into the layers they belong to."""
    for name, master in masters.items():
        if ROWS in name:
            weight: Any = start.get_submodule(name.partition(ROWS)[0]).weight
            weight[list(ids)] = master.to(weight.dtype)
        else:
            start.get_parameter(name).copy_(master)


def _refused(found: str, expected: str, remedy: str) -> ConfigError:
    return ConfigError("--new-tokens", found, expected=expected, remedy=remedy)
