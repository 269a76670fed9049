"""Base weights in four bits, and back: NF4 with doubly quantised constants (QLoRA, Dettmers et al. 2023,
arXiv:2305.14314, section 3), by bitsandbytes, on a GPU and on a CPU.

>>> network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **loading_options())
>>> prepare_quantized(network, torch.bfloat16)      # every linear layer but the head: 4.127 bits a weight

A layer multiplies by its weight brought back to the compute type, in the forward pass and in the backward pass. Embeddings,
norms and the output head stay as they are.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


BLOCK_SIZE = 64
"""Weights that share one scale."""


def import_bitsandbytes_offline() -> None:
    """Import bitsandbytes, where it is installed, without its looking for a kernel on the hub or complaining of its absence.

    On a CPU with bfloat16 products it asks the `kernels` package to download one for a path that we switch off anyway.
    """
    if find_spec("bitsandbytes") is None or "bitsandbytes" in sys.modules:
        return
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    before = {name: module for name, module in sys.modules.items() if name == "kernels"}
    sys.modules["kernels"] = None  # type: ignore[assignment]  # makes `import kernels` fail, which bitsandbytes expects
    try:
        import bitsandbytes  # noqa: F401
    finally:
        del sys.modules["kernels"]
        sys.modules.update(before)


@contextmanager
def without_bitsandbytes() -> Iterator[None]:
    """Within the block it looks as if bitsandbytes were not installed, unless it is loaded already.

    For peft, which imports it wherever it is installed, and with it torch's compiler: for a network with nothing in four bits
    that is memory and seconds spent on nothing.
    """
    if "bitsandbytes" in sys.modules:
        yield
        return
    sys.modules["bitsandbytes"] = None  # type: ignore[assignment]  # as if it were not there, for `import` and `find_spec`
    try:
        _ask_peft_again()
        yield
    finally:
        del sys.modules["bitsandbytes"]
        _ask_peft_again()


def _ask_peft_again() -> None:
    """Let peft forget whether bitsandbytes is installed."""
    if peft := sys.modules.get("peft.import_utils"):
        peft.is_bnb_available.cache_clear()
        peft.is_bnb_4bit_available.cache_clear()


def require_bitsandbytes() -> None:
    """Refuse four bits without the library.

    Raises:
        ConfigError: the extra is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            "--method qlora",
            "bitsandbytes is not installed",
            expected="the library that keeps weights in four bits",
            remedy="pip install 'tunesmith[qlora]'",
        )


def loading_options() -> dict[str, Any]:
    """For `from_pretrained`: quantise each layer as soon as it is read, so that one unquantised layer at most is in memory.

    Always read in float32 and on the CPU: every opening then quantises the same numbers by the same code.
    """
    from transformers import BitsAndBytesConfig

    require_bitsandbytes()
    import_bitsandbytes_offline()
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    return {"quantization_config": settings, "device_map": {"": "cpu"}}


def peft_for(network: nn.Module) -> AbstractContextManager[None]:
    """Within the block peft may be asked to change the network: it finds bitsandbytes where the network is in four bits."""
    return nullcontext() if is_quantized(network) else without_bitsandbytes()


def is_quantized(network: nn.Module) -> bool:
    """Whether the network's layers are in four bits."""
    return bool(getattr(network, "is_loaded_in_4bit", False))


def prepare_quantized(network: PreTrainedModel, dtype: torch.dtype) -> None:
    """Make a freshly quantised network compute in `dtype`, the same function in training and in evaluation.

    bitsandbytes' kernel for CPUs reads rows that are no whole number of blocks back as other weights, without a word.

    On a CPU with bfloat16 products bitsandbytes would repack the weights at the first forward pass in evaluation mode, in
    place, for a kernel that rounds everything to bfloat16, takes sizes divisible by 32 only, and has no backward pass:
    training after a validation would go on with wrong gradients, silently.

    Raises:
        ConfigError: a layer's rows are no whole number of blocks.
    """
    for name, layer in network.named_modules():
        if _is_quantized(layer):
            if layer.in_features % BLOCK_SIZE:
                raise unaligned(network, name, layer.in_features)
            layer.support_avx512bf16_for_cpu = False
    cast(network, dtype)


@torch.no_grad()
def cast(network: nn.Module, dtype: torch.dtype) -> None:
    """Turn weights into `dtype`, but neither packed ones nor constants that are computed from the settings.

    `network.to(dtype)` would round those too: rotary frequencies in bfloat16 turn far positions by wrong angles, while
    `from_pretrained` leaves them in float32, and a network would be tuned as another function than it is opened as.
    """
    for module in network.modules():
        tensors = [*module._parameters.values(), *(b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set)]
        for tensor in tensors:
            if tensor is not None and tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)
    for layer in network.modules():
        if _is_quantized(layer):
            layer.compute_dtype, layer.compute_type_is_set = dtype, True  # type: ignore[assignment]


@torch.no_grad()
def dequantize(network: PreTrainedModel) -> None:
    """Put plain layers in the place of quantised ones, in place: the weights training saw, not the original ones."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    for name, layer in list(network.named_modules()):
        if isinstance(layer, Linear4bit):
            with torch.device("meta"):
                plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
            weight: Any = layer.weight
            plain.weight = nn.Parameter(dequantize_4bit(weight.data, weight.quant_state).to(network.dtype), requires_grad=False)
            plain.bias = layer.bias
            network.set_submodule(name, plain.train(layer.training))
    network.hf_quantizer.remove_quantization_config(network)
    network.is_loaded_in_4bit = False


def count_weights(parameter: torch.Tensor) -> int:
    """Weights in a parameter; a packed byte holds two."""
    return parameter.numel() * (2 if parameter.dtype == torch.uint8 else 1)


def _is_quantized(layer: Any) -> bool:
    return hasattr(layer, "support_avx512bf16_for_cpu")


def unaligned(network: PreTrainedModel, name: str, size: int) -> ConfigError:
    """What to say of a layer whose rows are no whole number of blocks."""
    return ConfigError(
        "--method qlora",
        f"layer {name} of {network.name_or_path} has {size} inputs",
        expected=f"a multiple of {BLOCK_SIZE} in every layer, as nearly all models have",
        remedy="use --method lora",
    )
