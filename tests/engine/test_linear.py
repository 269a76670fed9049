"""Groups of linear layers against the layers themselves, called one by one: values, gradients, and when they must not be used."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.engine import reference
from tunesmith.engine.fast import speed_up
from tunesmith.engine.linear import LinearGroup, linear

SIZES = {"q": 24, "k": 8, "v": 16}
WIDTH = 20


class Block(nn.Module):
    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        for name, size in SIZES.items():
            setattr(self, name, nn.Linear(WIDTH, size, bias=bias))

    def one_by_one(self, x: Tensor) -> Tensor:
        return torch.cat([getattr(self, name)(x) for name in SIZES], dim=-1)


def block_of(*, bias: bool = False, lora: dict[str, object] | None = None, dtype: torch.dtype = torch.float32) -> Block:
    """Random, and B of the adapters as well, which peft starts at zero."""
    torch.manual_seed(0)
    block = Block(bias=bias)
    if lora is not None:
        add_adapter(block, "default", **lora)
    return block.to(dtype)


def add_adapter(block: Block, name: str, **settings: object) -> None:
    config = peft.LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": list(SIZES), **settings})
    peft.inject_adapter_in_model(config, block, adapter_name=name)
    for key, parameter in block.named_parameters():
        if "lora_B" in key:
            nn.init.normal_(parameter, std=0.3)


def inputs(dtype: torch.dtype = torch.float32, rows: int = 7) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()


def results(function: Callable[[Tensor], Tensor], block: Block, x: Tensor) -> dict[str, Tensor]:
    y = function(x)
    slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    y.backward(slope)
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad, **reference.gradients(block)}
    x.grad = None
    return {name: value.float().clone() for name, value in found.items()}


def check(block: Block, group: LinearGroup | None = None, dtype: torch.dtype = torch.float32) -> None:
    group = group or LinearGroup(block, *SIZES)
    assert group.is_supported()
    expected = results(block.one_by_one, block, inputs(dtype))
    found = results(lambda x: linear(group, x), block, inputs(dtype))
    assert found.keys() == expected.keys()
    rounding = 1e-5 if dtype == torch.float32 else 3e-2
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=rounding, atol=rounding * float(value.abs().max()), msg=lambda m, n=name: f"{n}: {m}"
        )


LORAS = {
    "none": None,
    "one rank": {},
    "a rank for each": {"rank_pattern": {"q": 1, "v": 7}, "alpha_pattern": {"k": 3}},
    "rslora": {"use_rslora": True},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lora", LORAS)
def test_equals_the_layers(lora: str, bias: bool, dtype: torch.dtype) -> None:
    check(block_of(bias=bias, lora=LORAS[lora], dtype=dtype), dtype=dtype)


@pytest.mark.parametrize("trained", ["everything", "base only", "one weight", "one bias", "one A"])
def test_whatever_trains(trained: str) -> None:
    block = block_of(bias=True, lora={})
    chosen = {
        "everything": "",
        "base only": "base_layer",
        "one weight": "k.base_layer.weight",
        "one bias": "k.base_layer.bias",
        "one A": "v.lora_A",
    }
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(chosen[trained] in name)
    assert any(parameter.requires_grad for parameter in block.parameters())
    check(block)


def test_a_frozen_input_and_frozen_layers() -> None:
    block = block_of(bias=True)
    group = LinearGroup(block, *SIZES)
    x = inputs().detach()
    linear(group, x).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    block.requires_grad_(False)
    assert not linear(group, x).requires_grad
    check_input_gradient = linear(group, inputs())
    assert check_input_gradient.requires_grad


def test_no_rows() -> None:
    block = block_of(lora={})
    found = results(lambda x: linear(LinearGroup(block, *SIZES), x), block, inputs(rows=0))
    assert found["y"].shape == (0, sum(SIZES.values()))
    assert not any(gradient.any() for gradient in found.values())


def test_gradients_add_up() -> None:
    block = block_of(lora={"r": 2})
    block.requires_grad_(True)
    group = LinearGroup(block, *SIZES)
    linear(group, inputs()).sum().backward()
    once = {name: p.grad.clone() for name, p in block.named_parameters() if p.grad is not None}
    assert len(once) == len(list(block.parameters()))
    linear(group, inputs()).sum().backward()
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name])


def test_the_adapter_can_be_switched_off_and_on() -> None:
    network = peft.PeftModel(Wrapped(), peft.LoraConfig(target_modules=list(SIZES), r=4, init_lora_weights=False))
    block = network.base_model.model.block
    group = LinearGroup(block, *SIZES)
    with_it = linear(group, inputs())
    with network.disable_adapter():
        assert group.is_supported()
        without = linear(group, inputs())
        torch.testing.assert_close(without, block.one_by_one(inputs()))
    assert not torch.allclose(with_it, without)
    torch.testing.assert_close(linear(group, inputs()), with_it)


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = Block()


def test_adapters_put_on_taken_off_and_merged_later() -> None:
    block = block_of(bias=True)
    group = LinearGroup(block, *SIZES)
    check(block, group)
    add_adapter(block, "default")
    check(block, group)
    layers = {name: getattr(block, name) for name in SIZES}
    expected = block.one_by_one(inputs())
    for layer in layers.values():
        layer.merge()
    assert not group.is_supported()
    torch.testing.assert_close(block.one_by_one(inputs()), expected)
    for layer in layers.values():
        layer.unmerge()
    assert group.is_supported()
    torch.testing.assert_close(linear(group, inputs()), expected)
    for name, layer in layers.items():
        layer.merge()
        setattr(block, name, layer.base_layer)
    assert group.is_supported()
    torch.testing.assert_close(linear(group, inputs()), expected)


def set_active(block: Block, *names: str) -> None:
    for layer in SIZES:
        getattr(block, layer).set_adapter(list(names))


def test_one_of_several_adapters_acts() -> None:
    """Whatever it is called; and none, which is the layers alone."""
    block = block_of(bias=True, lora={"rank_pattern": {"q": 1, "v": 7}})
    add_adapter(block, "adapter-2", r=3, use_rslora=True)
    group = LinearGroup(block, *SIZES)
    found = []
    for name in ("adapter-2", "default"):
        set_active(block, name)
        check(block, group)
        found.append(linear(group, inputs()))
        assert group.acting == name
    for layer in SIZES:
        getattr(block, layer).enable_adapters(False)
    assert group.is_supported()
    assert group.acting is None
    found.append(linear(group, inputs()))
    torch.testing.assert_close(found[-1], block.one_by_one(inputs()))
    assert not any(torch.allclose(found[i], found[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_what_an_adapter_would_need() -> None:
    """Asked for by name, whichever acts."""
    block = block_of(lora={})
    add_adapter(block, "dora", use_dora=True)
    add_adapter(block, "some", target_modules=["q", "v"])
    group = LinearGroup(block, *SIZES)
    assert [group.supports(name) for name in ("default", "dora", "some", "elsewhere", None)] == [True, False, False, True, True]
    for name, supported in (("default", True), ("dora", False), ("some", False)):
        set_active(block, name)
        assert group.is_supported() == supported
    block.k.merge(adapter_names=["default"])
    assert not any(group.supports(name) for name in ("default", "elsewhere", None))


def test_dropout_does_nothing_in_evaluation() -> None:
    block = block_of(lora={"lora_dropout": 0.5}).eval()
    check(block)
    assert not LinearGroup(block.train(), *SIZES).is_supported()


@pytest.mark.parametrize("why", ["dropout", "dora", "lora bias", "two at once", "only some", "float32 adapters"])
def test_adapters_that_need_their_own_forward(why: str) -> None:
    settings = {"dropout": {"lora_dropout": 0.1}, "dora": {"use_dora": True}, "lora bias": {"lora_bias": True}}
    bias = why == "lora bias"
    block = block_of(bias=bias, lora={**settings.get(why, {}), **({"target_modules": ["q", "v"]} if why == "only some" else {})})
    if why == "two at once":
        add_adapter(block, "second")
        set_active(block, "default", "second")
    if why == "float32 adapters":
        for name in SIZES:
            getattr(block, name).base_layer.to(torch.bfloat16)
    assert not LinearGroup(block, *SIZES).is_supported()


@pytest.mark.parametrize("why", ["some biases", "another class", "a hook", "a hook on the base", "a forward of its own", "autocast"])
def test_layers_that_need_their_own_forward(why: str) -> None:
    block = block_of(lora={} if "base" in why else None)
    group = LinearGroup(block, *SIZES)
    assert group.is_supported()
    if why == "some biases":
        block.k = nn.Linear(WIDTH, 8, bias=True)
    elif why == "another class":
        block.k = nn.Sequential(nn.Linear(WIDTH, 8))
    elif why == "a hook":
        block.k.register_forward_hook(lambda *_: None)
    elif why == "a hook on the base":
        block.k.base_layer.register_forward_pre_hook(lambda *_: None)
    elif why == "a forward of its own":
        block.k.forward = lambda x: 2 * nn.functional.linear(x, block.k.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16) if why == "autocast" else nullcontext():
        assert not group.is_supported()


def test_weights_are_held_once_and_where_the_optimiser_writes() -> None:
    block = block_of(bias=True)
    group = LinearGroup(block, *SIZES)
    linear(group, inputs())
    wide = group.weight()
    assert len({parameter.untyped_storage().data_ptr() for name, parameter in block.named_parameters() if "weight" in name}) == 1
    optimiser = torch.optim.SGD(block.parameters(), lr=0.5)
    linear(group, inputs()).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    assert group.weight() is wide, "views still"
    check(block, group)


@pytest.mark.parametrize("change", ["cast", "replaced data", "replaced parameter", "loaded"])
def test_weights_that_moved_are_found(change: str) -> None:
    block = block_of()
    group = LinearGroup(block, *SIZES)
    linear(group, inputs())
    if change == "cast":
        block.to(torch.bfloat16).to(torch.float32)
    elif change == "replaced data":
        block.k.weight.data = torch.randn(8, WIDTH)
    elif change == "replaced parameter":
        block.k.weight = nn.Parameter(torch.randn(8, WIDTH))
    else:
        block.load_state_dict(block_of().state_dict() | {"k.weight": torch.randn(8, WIDTH)}, assign=True)
        block.requires_grad_(True)
    check(block, group)
    check(block.to(torch.bfloat16), group, torch.bfloat16)


def test_a_copy_is_a_network_of_its_own() -> None:
    network = reference.tiny("llama")
    speed_up(network)
    token_ids = torch.arange(12)[None]
    before = network(token_ids).logits
    other = copy.deepcopy(network)
    for name, module in other.named_modules():
        for attribute in ("fast_gate_up", "fast_down", "fast_projections", "fast_output"):
            if hasattr(module, attribute):
                assert getattr(module, attribute).owner() is module, name
        if "forward" in module.__dict__:
            assert module.forward.args[0]() is module
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert torch.equal(network(token_ids).logits, before)
    assert not other(token_ids).logits.any()
    ours = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    assert not ours & {parameter.untyped_storage().data_ptr() for parameter in other.parameters()}


def test_after_inference_mode_weights_still_train() -> None:
    block = block_of(lora={})
    group = LinearGroup(block, *SIZES)
    with torch.inference_mode():
        linear(group, inputs())
    block.requires_grad_(True)
    assert not any(parameter.is_inference() for parameter in block.parameters())
    check(block, group)
    torch.optim.SGD(block.parameters(), lr=0.1).step()


def test_the_adapter_may_be_switched_off_between_forward_and_backward() -> None:
    """What was computed is what has gradients."""
    network = peft.get_peft_model(reference.tiny("llama"), peft.LoraConfig(target_modules="all-linear", init_lora_weights=False))
    speed_up(network.base_model.model)
    network.requires_grad_(True)
    token_ids = torch.arange(3, 20)[None]
    with network.disable_adapter():
        network.requires_grad_(True)
        loss = network(token_ids, labels=token_ids).loss
    loss.backward()
    trained = [name for name, parameter in network.named_parameters() if parameter.grad is not None and parameter.grad.any()]
    assert trained
    assert not any("lora" in name for name in trained)


def test_saved_files_are_as_before(tmp_path: Path) -> None:
    network, plain = reference.tiny("qwen2"), reference.tiny("qwen2")
    speed_up(network)
    network(torch.arange(9)[None])
    assert list(network.state_dict()) == list(plain.state_dict())
    network.save_pretrained(tmp_path / "fast")
    plain.save_pretrained(tmp_path / "plain")
    fast, slow = (load_file(tmp_path / name / "model.safetensors") for name in ("fast", "plain"))
    assert fast.keys() == slow.keys()
    assert all(torch.equal(fast[name], slow[name]) for name in slow)
    assert (tmp_path / "fast" / "config.json").read_text() == (tmp_path / "plain" / "config.json").read_text()
