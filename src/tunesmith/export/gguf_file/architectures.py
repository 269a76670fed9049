"""What llama.cpp has to know of a network besides its weights, and what it does to them: one entry for each architecture.

Names and conventions as llama.cpp reads them (gguf-py constants.py; convert_hf_to_gguf.py says what each architecture expects).
A setting that llama.cpp's version of an architecture does not have is refused: the file would be another function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from tunesmith.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """How one of transformers' model types is written."""

    arch: MODEL_ARCH
    activation: str
    interleaves: bool = False
    """llama.cpp turns pairs of neighbouring numbers by RoPE here, transformers a half against the other: rows of q and k change places."""
    adds_one: bool = False
    """transformers multiplies by 1 + the norm's weight, llama.cpp by the weight."""
    knows_windows: bool = False
    """llama.cpp has the sliding windows of this architecture."""

    @property
    def rounds_activations(self) -> bool:
        """On a CPU llama.cpp looks GELU up in a table of half precision, whatever the weights are (ggml-cpu/vec.h, GGML_GELU_FP16)."""
        return self.activation.startswith("gelu")


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(arch=MODEL_ARCH.LLAMA, activation="silu", interleaves=True),
    "mistral": Architecture(arch=MODEL_ARCH.LLAMA, activation="silu", interleaves=True),
    "qwen2": Architecture(arch=MODEL_ARCH.QWEN2, activation="silu"),
    "qwen3": Architecture(arch=MODEL_ARCH.QWEN3, activation="silu"),
    "gemma2": Architecture(arch=MODEL_ARCH.GEMMA2, activation="gelu_pytorch_tanh", adds_one=True, knows_windows=True),
    "gemma3_text": Architecture(arch=MODEL_ARCH.GEMMA3, activation="gelu_pytorch_tanh", adds_one=True, knows_windows=True),
}
"""By `model_type` of the config."""

WINDOW_PERIOD: Mapping[MODEL_ARCH, int] = {MODEL_ARCH.GEMMA2: 2, MODEL_ARCH.GEMMA3: 6}
"""Every such layer sees everything where the file does not say otherwise."""
LOCAL_ROPE_BASE = 10_000.0
"""Of Gemma 3's layers with a window, built into llama.cpp."""


def architecture_of(config: Any) -> Architecture:
    """How this network is written.

    Raises:
        ConfigError: it cannot be: by name and reason, with what else can be done.
    """
    found = ARCHITECTURES.get(config.model_type)
    if found is None:
        raise refused(f"the architecture {config.model_type}", f"one of {', '.join(ARCHITECTURES)}")
    activation = getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)
    if activation != found.activation:
        raise refused(f"{config.model_type} with the activation {activation}", f"{found.activation}, which llama.cpp has built in")
    if found.adds_one:
        _require_gemma(config)
    return found


def refused(found: str, expected: str) -> ConfigError:
    """This network as a GGUF file would be another function, or none."""
    remedy = "export it with --to merged; llama.cpp's own convert_hf_to_gguf.py may know it"
    return ConfigError("export --to gguf", found, expected=expected, remedy=remedy)


def _require_gemma(config: Any) -> None:
    if config.query_pre_attn_scalar != config.head_dim:
        raise refused(f"query_pre_attn_scalar {config.query_pre_attn_scalar}", f"the head's size, {config.head_dim}, as llama.cpp scales")
    if config.model_type == "gemma3_text" and (config.attn_logit_softcapping or config.final_logit_softcapping):
        raise refused("Gemma 3 with soft-capped logits", "none, as in llama.cpp")
    if getattr(config, "use_bidirectional_attention", False):
        raise refused("bidirectional attention", "causal attention")


def add_hyperparameters(writer: GGUFWriter, config: Any, architecture: Architecture) -> None:
    """Sizes, norms, rotary embedding, windows, context."""
    head_dim = head_size(config)
    writer.add_context_length(context_length(config, architecture))
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    _add_rope(writer, config)
    if architecture.knows_windows:
        _add_windows(writer, config, architecture)
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def head_size(config: Any) -> int:
    """Numbers in one head's query."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def context_length(config: Any, architecture: Architecture) -> int:
    """Tokens; where llama.cpp does not know the network's windows no more than one window, within which they change nothing."""
    whole = int(config.max_position_embeddings)
    window = sliding_window(config)
    return whole if architecture.knows_windows or window is None else min(whole, window)


def sliding_window(config: Any) -> int | None:
    """Tokens that some layer sees; None where all layers see everything."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    window = getattr(config, "sliding_window", None)
    return int(window) if window else None


def _add_windows(writer: GGUFWriter, config: Any, architecture: Architecture) -> None:
    """llama.cpp takes every n-th layer for one that sees everything."""
    kinds = list(config.layer_types)
    period = kinds.index("full_attention") + 1 if "full_attention" in kinds else len(kinds) + 1
    if kinds != ["full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(len(kinds))]:
        raise refused("layers with and without a window in no regular order", "every n-th layer without")
    writer.add_sliding_window(config.sliding_window)
    if period != WINDOW_PERIOD[architecture.arch]:
        writer.add_sliding_window_pattern(period)


def _add_rope(writer: GGUFWriter, config: Any) -> None:
    rope = config.rope_parameters
    if "full_attention" in rope:
        local = rope["sliding_attention"]
        if (local["rope_type"], local["rope_theta"]) != ("default", LOCAL_ROPE_BASE):
            raise refused(f"RoPE of the layers with a window: {local}", f"base {LOCAL_ROPE_BASE:g}, as in llama.cpp")
        rope = rope["full_attention"]
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise refused("a rotary embedding of a part of each head", "of the whole head")
    writer.add_rope_freq_base(rope["rope_theta"])
    _ROPES.get(rope["rope_type"], _refuse_rope)(writer, rope)


def _refuse_rope(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    del writer
    raise refused(f"rotary embedding of type {rope['rope_type']}", f"one of {', '.join(_ROPES)}")


def _no_scaling(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    """Plain, and Llama 3's, which is a tensor (`rope_factors`)."""


def _linear_scaling(writer: GGUFWriter, rope: Mapping[str, Any]) -> None:
    writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(rope["factor"])


_ROPES: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = {
    "default": _no_scaling,
    "linear": _linear_scaling,
    "llama3": _no_scaling,
}


def rope_factors(config: Any) -> NDArray[np.float32] | None:
    """(head_size / 2,) what each rotary frequency is divided by; None where by nothing.

    Llama 3.1's scaling: long waves are stretched by `factor`, short ones left, those between interpolated (transformers
    `modeling_rope_utils._compute_llama3_parameters`).
    """
    rope = config.rope_parameters
    if rope.get("rope_type") != "llama3":
        return None
    size, factor, length = head_size(config), rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    frequencies = rope["rope_theta"] ** -(np.arange(0, size, 2, dtype=np.float64) / size)
    turns = length * frequencies / (2 * math.pi)  # in the original context
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    factors: NDArray[np.float32] = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return factors
