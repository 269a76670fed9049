"""From a model folder to a network ready to train or generate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tunesmith.engine.memory import bound_kernel_caches
from tunesmith.errors import AssetError, ConfigError


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network and its tokenizer, on a device, in a compute type."""

    network: PreTrainedModel
    tokenizer: Any
    directory: Path

    @property
    def device(self) -> torch.device:
        return torch.device(self.network.device)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.network.dtype
        return dtype

    @property
    def context_length(self) -> int:
        """Most tokens in prompt and completion together."""
        return int(getattr(self.network.config.get_text_config(), "max_position_embeddings", None) or 2048)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Where the model's own generation settings stop."""
        ids = self.network.generation_config.eos_token_id
        return frozenset([ids] if isinstance(ids, int) else ids or [])


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
        ConfigError: CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError(
            "--device cuda", "no CUDA device or a CPU build of torch", expected="a GPU torch can see", remedy="use --device cpu"
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def choose_dtype(name: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where matrix products have it in hardware, else float32."""
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capabilities = torch.cpu.get_capabilities()
    native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32


def dtype_name(dtype: torch.dtype) -> Literal["float32", "bfloat16"]:
    """As the settings call it."""
    return "bfloat16" if dtype == torch.bfloat16 else "float32"


def load_model(directory: Path, *, dtype: torch.dtype, device: torch.device) -> LoadedModel:
    """Load a folder of safetensors, from disk only.

    Raises:
        AssetError: the folder holds no decoder that transformers can load whole, or one that does not work by attention alone.
    """
    transformers_logging.disable_progress_bar()
    bound_kernel_caches()
    try:
        tokenizer = load_tokenizer(directory)
        network, report = AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unusable(directory, f"transformers cannot load it ({(str(error).splitlines() or [type(error).__name__])[0]})") from error
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        raise _unusable(directory, f"{len(report['missing_keys'])} of its weights are missing, e.g. {min(report['missing_keys'])}")
    if _keeps_a_state(network):
        raise _unusable(directory, f"{type(network).__name__} carries a state from token to token, which batches and packs would mix up")
    return LoadedModel(network=network.to(device).eval(), tokenizer=tokenizer, directory=directory)


def _unusable(directory: Path, found: str) -> AssetError:
    return AssetError(
        str(directory),
        found,
        expected="a decoder-only language model in safetensors with its tokenizer",
        remedy="check the folder, or name another model (see `tunesmith models`)",
    )


def _keeps_a_state(network: PreTrainedModel) -> bool:
    """Mamba, RWKV and hybrids of them (LFM2, Jamba, Qwen3-Next)."""
    layers = DynamicCache(config=network.config).layers
    return bool(network._is_stateful) or any("Linear" in type(layer).__name__ for layer in layers)


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer alone: quick, for previews and checks."""
    return AutoTokenizer.from_pretrained(directory, local_files_only=True)
