"""The network's weights under llama.cpp's names, in its order of rows, and the types they are stored in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gguf
import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.export.gguf_file.architectures import Architecture, head_size, refused, rope_factors

WeightType = Literal["f32", "f16", "bf16", "q8_0"]

TYPES: dict[WeightType, GGMLQuantizationType] = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
}
FILE_TYPES: dict[WeightType, gguf.LlamaFileType] = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
BLOCK = 32
"""Weights of a row that share a scale in q8_0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedTensor:
    """One tensor as the file is to have it."""

    name: str
    values: NDArray[np.float32]
    kind: GGMLQuantizationType


def gguf_tensors(network: PreTrainedModel, architecture: Architecture, weight_type: WeightType) -> Iterator[NamedTensor]:
    """Every tensor of the file, one at a time. A tied output layer is left out: llama.cpp takes the embedding.

    Raises:
        ConfigError: a weight has no place in llama.cpp's version of the architecture.
    """
    config: Any = network.config
    names = gguf.get_tensor_name_map(architecture.arch, config.num_hidden_layers)
    factors = rope_factors(config)
    if factors is not None:
        yield NamedTensor(name="rope_freqs.weight", values=factors, kind=GGMLQuantizationType.F32)
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    for own, weight in network.state_dict().items():
        if tied and own == "lm_head.weight":
            continue
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise refused(
                f"the weight {own}, which llama.cpp's {architecture.arch.name.lower()} lacks", "an architecture as it was published"
            )
        values = _as_llama_cpp(own, weight, config, architecture)
        yield NamedTensor(name=name, values=values, kind=_kind(values, weight_type))


def _as_llama_cpp(own: str, weight: Tensor, config: Any, architecture: Architecture) -> NDArray[np.float32]:
    values: NDArray[np.float32] = weight.detach().float().cpu().numpy()
    if architecture.interleaves and ".q_proj." in own:
        values = interleaved(values, config.num_attention_heads, head_size(config))
    if architecture.interleaves and ".k_proj." in own:
        values = interleaved(values, config.num_key_value_heads, head_size(config))
    return values + np.float32(1) if architecture.adds_one and own.endswith("norm.weight") else values


def interleaved(values: NDArray[np.float32], num_heads: int, size: int) -> NDArray[np.float32]:
    """Rows of each head from halves (x0 x1 … | y0 y1 …), as transformers turns them, into pairs (x0 y0 x1 y1 …)."""
    halves = values.reshape(num_heads, 2, size // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _kind(values: NDArray[np.float32], weight_type: WeightType) -> GGMLQuantizationType:
    """Norms and biases stay in float32, as llama.cpp wants them; rows that are no whole number of blocks in float16."""
    if values.ndim == 1:
        return GGMLQuantizationType.F32
    if weight_type == "q8_0" and values.shape[-1] % BLOCK:
        return GGMLQuantizationType.F16
    return TYPES[weight_type]
