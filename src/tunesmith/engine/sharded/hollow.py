"""A network without its numbers: parameters on the meta device, all else as `load_model` has it.

>>> hollow = load_hollow(folder, dtype=torch.bfloat16)      # 70 billion weights in no memory
>>> hollow.network.num_parameters()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils import logging as transformers_logging

from tunesmith.engine.fast import speed_up
from tunesmith.engine.linear import LinearGroup
from tunesmith.engine.loading import LoadedModel, keeps_a_state, load_tokenizer, unusable
from tunesmith.engine.memory import bound_kernel_caches
from tunesmith.errors import first_line


def load_hollow(directory: Path, *, dtype: torch.dtype) -> LoadedModel:
    """What `load_model` gives, before any weight is read.

    Raises:
        AssetError: the folder holds no decoder that transformers can build, or one that does not work by attention alone.
    """
    transformers_logging.disable_progress_bar()
    bound_kernel_caches()
    try:
        tokenizer = load_tokenizer(directory)
        network = _build(directory, dtype)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise unusable(directory, f"transformers cannot build it ({first_line(error)})") from error
    if keeps_a_state(network):
        raise unusable(directory, f"{type(network).__name__} carries a state from token to token, which batches and packs would mix up")
    speed_up(network)
    gather_in_turn(network)
    return LoadedModel(network=network, tokenizer=tokenizer, directory=directory)


def _build(directory: Path, dtype: torch.dtype) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    # Buffers are computed from the configuration, so they are real; parameters exist one at a time, without numbers.
    with no_init_weights(), init_empty_weights(include_buffers=False):
        network: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    network.tie_weights()
    if (directory / "generation_config.json").is_file():
        network.generation_config = GenerationConfig.from_pretrained(directory, local_files_only=True)
    return network.eval()


def gather_in_turn(network: nn.Module) -> None:
    """Tell layers with a common input that their weights will come and go."""
    for module in network.modules():
        for group in [value for value in vars(module).values() if isinstance(value, LinearGroup)]:
            group.keeps_wide = False


@contextmanager
def with_stand_ins(network: nn.Module) -> Iterator[None]:
    """Within the block parameters without numbers are zeros of their shape on the CPU that take no memory.

    For peft, which puts fresh adapters where the weights beside them are, and would so forget the adapters' numbers.
    """
    hollow: dict[int, nn.Parameter] = {}
    places: list[tuple[nn.Module, str, nn.Parameter]] = []
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_meta:
                places.append((module, name, parameter))
                zeros = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
                module._parameters[name] = hollow.setdefault(id(parameter), nn.Parameter(zeros, requires_grad=False))
    try:
        yield
    finally:
        for module, name, parameter in places:
            module._parameters[name] = parameter


@torch.no_grad()
def retyped(network: nn.Module, wanted: Any) -> None:
    """Give every parameter the type that `wanted(parameter)` says; those tied to each other stay so."""
    changed: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is None or not parameter.is_floating_point() or parameter.dtype == wanted(parameter):
                continue
            if id(parameter) not in changed:
                changed[id(parameter)] = nn.Parameter(parameter.detach().to(wanted(parameter)), requires_grad=parameter.requires_grad)
            module._parameters[name] = changed[id(parameter)]
