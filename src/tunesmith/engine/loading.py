"""From a model folder to a network ready to train or generate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from tokenizers import AddedToken
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tunesmith.engine.fast import join_weights, speed_up
from tunesmith.engine.memory import bound_kernel_caches, give_back
from tunesmith.engine.quantize import loading_options, prepare_quantized
from tunesmith.errors import AssetError, ConfigError, first_line


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


def load_model(directory: Path, *, dtype: torch.dtype, device: torch.device, quantize: bool = False) -> LoadedModel:
    """Load a folder of safetensors, from disk only.

    Args:
        quantize: keep the weights of linear layers in four bits; `dtype` is then what they are brought back to at use.

    Raises:
        AssetError: the folder holds no decoder that transformers can load whole, or one that does not work by attention alone.
        ConfigError: four bits were asked for and the library is missing.
    """
    transformers_logging.disable_progress_bar()
    bound_kernel_caches()
    options = {"dtype": torch.float32, **loading_options()} if quantize else {"dtype": dtype}
    try:
        tokenizer = load_tokenizer(directory)
        network, report = AutoModelForCausalLM.from_pretrained(
            directory, **options, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise unusable(directory, f"transformers cannot load it ({first_line(error)})") from error
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        raise unusable(directory, f"{len(report['missing_keys'])} of its weights are missing, e.g. {min(report['missing_keys'])}")
    if keeps_a_state(network):
        raise unusable(directory, f"{type(network).__name__} carries a state from token to token, which batches and packs would mix up")
    if quantize:
        prepare_quantized(network, dtype)
    network = network.to(device).eval()
    speed_up(network)
    if dtype != torch.float32:  # in float32 the weights are the file's pages, and may yet be turned into another type
        join_weights(network)
        give_back()
    return LoadedModel(network=network, tokenizer=tokenizer, directory=directory)


def unusable(directory: Path, found: str) -> AssetError:
    """What to say of a folder that no network can be had of."""
    return AssetError(
        str(directory),
        found,
        expected="a decoder-only language model in safetensors with its tokenizer",
        remedy="check the folder, or name another model (see `tunesmith models`)",
    )


def keeps_a_state(network: PreTrainedModel) -> bool:
    """Mamba, RWKV and hybrids of them (LFM2, Jamba, Qwen3-Next)."""
    layers = DynamicCache(config=network.config).layers
    return bool(network._is_stateful) or any("Linear" in type(layer).__name__ for layer in layers)


SAMPLE_BYTES, SAMPLE_EVERY = 4096, 2**20
"""Of every tensor, the first bytes of each such stretch go into the fingerprint."""


def weights_fingerprint(directory: Path) -> str:
    """Digest of a model folder's weights: every tensor's name, type, shape and size, and a sample of its bytes.

    A sample, 0.4 % of the bytes, so that a large model takes a second and not minutes: whoever trains, merges or converts a
    model changes all of its weights. How tensors are spread over files does not count.
    """
    tensors = dict(tensor for file in directory.glob("*.safetensors") for tensor in _sampled_tensors(file))
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}\0{tensors[name]}\0".encode())
    return digest.hexdigest()[:16]


def _sampled_tensors(file: Path) -> Iterator[tuple[str, str]]:
    """Name of each tensor in a safetensors file, and what is known of it (https://github.com/huggingface/safetensors, Format)."""
    with file.open("rb") as stream:
        header_size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(header_size))
        for name, about in header.items():
            if name == "__metadata__":
                continue
            start, end = about["data_offsets"]
            sample = hashlib.sha256()
            for place in range(start, end, SAMPLE_EVERY):
                stream.seek(8 + header_size + place)
                sample.update(stream.read(min(SAMPLE_BYTES, end - place)))
            yield name, f"{about['dtype']} {about['shape']} {end - start} {sample.hexdigest()}"


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer alone: quick, for previews and checks."""
    return AutoTokenizer.from_pretrained(directory, local_files_only=True)


def add_to_tokenizer(tokenizer: Any, tokens: Sequence[str]) -> None:
    """Add tokens that are found wherever their text stands, as no special ones are in what users write."""
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])
