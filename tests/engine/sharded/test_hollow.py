"""A network without its numbers is, but for these, the network that is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tunesmith.config import LoraConfig
from tunesmith.engine.adapters import add_lora
from tunesmith.engine.attention import packs_faithfully
from tunesmith.engine.excerpt import excerpt
from tunesmith.engine.linear import LinearGroup
from tunesmith.engine.loading import load_model
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.engine.sharded.hollow import load_hollow, retyped, with_stand_ins

CPU = torch.device("cpu")


@pytest.fixture(params=["llama", "gemma"])
def folder(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(f"tiny_{request.param}")
    return directory


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everything_but_the_numbers(folder: Path, dtype: torch.dtype) -> None:
    hollow, loaded = load_hollow(folder, dtype=dtype), load_model(folder, dtype=dtype, device=CPU)
    assert hollow.stop_ids == loaded.stop_ids
    assert hollow.context_length == loaded.context_length
    assert hollow.network.num_parameters() == loaded.network.num_parameters()
    expected = dict(loaded.network.named_parameters(remove_duplicate=False))
    found = dict(hollow.network.named_parameters(remove_duplicate=False))
    assert found.keys() == expected.keys()
    for name, parameter in found.items():
        assert parameter.is_meta
        assert (parameter.shape, parameter.dtype) == (expected[name].shape, expected[name].dtype)
    assert hollow.network.lm_head.weight is hollow.network.get_input_embeddings().weight
    for name, buffer in loaded.network.named_buffers():
        assert torch.equal(hollow.network.get_buffer(name), buffer), name


def test_it_takes_the_same_fast_way(folder: Path) -> None:
    hollow, loaded = (load_hollow(folder, dtype=torch.float32), load_model(folder, dtype=torch.float32, device=CPU))
    ways = [{name: "forward" in vars(module) for name, module in one.network.named_modules()} for one in (hollow, loaded)]
    assert ways[0] == ways[1]
    assert any(ways[0].values())
    offsets = [[getattr(module, "fast_offset", None) for module in one.network.modules()] for one in (hollow, loaded)]
    assert offsets[0] == offsets[1]
    groups = [value for module in hollow.network.modules() for value in vars(module).values() if isinstance(value, LinearGroup)]
    assert groups
    assert not any(group.keeps_wide for group in groups)


def test_it_can_be_tried(folder: Path) -> None:
    """On numbers made up for the purpose, which the network itself does not get."""
    network = load_hollow(folder, dtype=torch.bfloat16).network
    assert packs_faithfully(network)
    refuse_unfaithful(network)
    trial = excerpt(network)
    assert not any(p.is_meta for p in trial.parameters())
    assert trial.lm_head.weight is trial.get_input_embeddings().weight
    assert all(p.is_meta for p in network.parameters())


def test_a_network_that_does_not_pack_is_told_from_one_that_does(folder: Path) -> None:
    network = load_hollow(folder, dtype=torch.float32).network
    for module in network.modules():
        if hasattr(module, "fast_projections"):
            del module.__dict__["forward"]
            module.forward = lambda hidden_states, **_: (hidden_states.cumsum(1), None)
    assert not packs_faithfully(network, say=lambda _: None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fresh_adapters_have_the_same_numbers(folder: Path, dtype: torch.dtype) -> None:
    """As on a network that is loaded, though there are no weights beside them."""
    config = LoraConfig(rank=4, alpha=8)
    adapted = []
    for network in (load_hollow(folder, dtype=dtype).network, load_model(folder, dtype=dtype, device=CPU).network):
        torch.manual_seed(3)
        with with_stand_ins(network):
            adapted.append(add_lora(network, config, "base"))
    found, expected = ({name: p for name, p in one.named_parameters() if "lora_" in name} for one in adapted)
    assert found
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) and found[name].dtype == dtype for name in found)
    assert all(p.is_meta for name, p in adapted[0].named_parameters() if "lora_" not in name)


def test_other_types_keep_ties(folder: Path) -> None:
    network = load_hollow(folder, dtype=torch.bfloat16).network
    network.get_input_embeddings().requires_grad_(False)
    retyped(network, lambda p: torch.float32 if p.requires_grad else torch.bfloat16)
    assert network.lm_head.weight is network.get_input_embeddings().weight
    assert {p.dtype for p in network.parameters() if p.requires_grad} == {torch.float32}
    assert network.lm_head.weight.dtype == torch.bfloat16
