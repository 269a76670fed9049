"""From a GGUF file to a folder that `from_pretrained` loads: dequantised weights, config, tokenizer.

    convert_gguf(Path("model.Q4_K_M.gguf"), out_dir)

Weights are stored as float32. A dequantised value is scale x integer (+ minimum) with a float16 scale: up to 15 significant
bits for 4-bit blocks, 19 for 8-bit ones. float32 has 24 and keeps the product exactly; bfloat16 has 8 and would add
an error of its own, up to 0.4 % of each weight, on top of the quantisation's.
"""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.assets.cache import Say
from tunesmith.errors import AssetError, first_line
from tunesmith.files import write_json

CONVERSION_VERSION = 1
"""Raise it when the converted folder changes: older cached conversions are then not used any more."""

_DIGITS_FIRST = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""`tokenizer.ggml.pre` of vocabularies that split every digit off before anything else (llama.cpp, src/llama-vocab.cpp)."""


def convert_gguf(gguf_file: Path, out_dir: Path, *, on_progress: Say | None = None) -> None:
    """Write `gguf_file` into the existing folder `out_dir` as float32 safetensors with config and tokenizer.

    Raises:
        AssetError: not a whole GGUF file, or of an architecture that transformers cannot read.
        OSError: `out_dir` cannot be written, or its disk is full.
    """
    say = on_progress or (lambda sentence: None)
    say(f"Dequantising {gguf_file.name} to float32.")
    with _quiet_transformers():
        model = _read_model(gguf_file)
        tokenizer = _read_tokenizer(gguf_file, max_length=model.config.max_position_embeddings)
        _save_tokenizer(tokenizer, out_dir)
        say("Writing the converted model.")
        _save_model(model, out_dir)


def _read_model(gguf_file: Path) -> Any:
    """The dequantised model, as transformers reads it."""
    import torch
    from transformers import AutoModelForCausalLM

    with _unreadable(gguf_file):
        model, report = AutoModelForCausalLM.from_pretrained(
            gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32, output_loading_info=True
        )
    lacking = sorted([*report["missing_keys"], *(mismatch[0] for mismatch in report["mismatched_keys"])])
    if lacking:  # transformers fills these with random numbers
        raise _bad_gguf(gguf_file, f"it lacks {len(lacking)} of the model's tensors, {lacking[0]} first")
    return model


def _clean_config(model: Any) -> Any:
    """The model's config, freed of traces of GGUF."""
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # save_pretrained refuses to write a "GGUF-quantised" model
    config.__dict__.pop("_model_name_or_path", None)
    for key, value in config.to_dict().items():
        if isinstance(value, float):
            setattr(config, key, _shortest(value))
    return config


def _shortest(value: float) -> float:
    """GGUF keeps float32: 9.999999747378752e-06 was 1e-05."""
    import numpy as np

    return float(str(np.float32(value)))


def _save_model(dequantised: Any, out_dir: Path) -> None:
    """Move the weights into a model that transformers does not take for a quantised one, and save that."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, GenerationConfig

    config = _clean_config(dequantised)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(dequantised.state_dict(), strict=True)
    ids = {name: getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ids)
    try:
        model.save_pretrained(out_dir)
    except SafetensorError as error:  # not an OSError, though a full disk is its only cause here
        raise OSError(errno.ENOSPC, str(error)) from error


def _read_tokenizer(gguf_file: Path, *, max_length: int) -> Any:
    from transformers import AutoTokenizer

    with _unreadable(gguf_file):
        tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
        if _metadata(gguf_file, "tokenizer.ggml.pre") in _DIGITS_FIRST:
            _split_digits_first(tokenizer.backend_tokenizer)
    tokenizer.model_max_length = max_length
    return tokenizer


def _save_tokenizer(tokenizer: Any, out_dir: Path) -> None:
    tokenizer.save_pretrained(out_dir)
    settings = json.loads((out_dir / "tokenizer_config.json").read_text(encoding="utf-8"))
    for trace in ("is_local", "local_files_only", "name_or_path"):
        settings.pop(trace, None)
    write_json(out_dir / "tokenizer_config.json", settings)


def _split_digits_first(backend: Any) -> None:
    """transformers (5.23) does not know these and takes GPT-2's splits, which cut white space before digits otherwise.

    "one\\n\\n2" is then "\\n", "\\n", "2" where the model was trained on "\\n\\n", "2": every numbered list reads wrong.
    """
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def gguf_licence(gguf_file: Path) -> str:
    """What the file says of its licence, e.g. `apache-2.0`; `unknown` when it says nothing."""
    with _unreadable(gguf_file):
        return _metadata(gguf_file, "general.license") or "unknown"


def _metadata(gguf_file: Path, key: str) -> str | None:
    from gguf import GGUFReader

    field = GGUFReader(gguf_file).get_field(key)
    return None if field is None else str(field.contents())


@contextmanager
def _unreadable(gguf_file: Path) -> Iterator[None]:
    """Turn what the GGUF libraries raise about a bad file into an AssetError."""
    try:
        yield
    except (ValueError, KeyError, IndexError, NotImplementedError, OSError, struct.error) as error:
        cause = first_line(error, otherwise="no reason given")
        raise _bad_gguf(gguf_file, f"it cannot be read ({type(error).__name__}: {cause})") from error


def _bad_gguf(gguf_file: Path, found: str) -> AssetError:
    return AssetError(
        str(gguf_file),
        found,
        expected="a whole GGUF file of an architecture that transformers can read",
        remedy="fetch it again, or use the same model as safetensors",
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars from inside transformers while converting; the caller's setting comes back after."""
    from transformers import modeling_gguf_pytorch_utils
    from transformers.utils import logging

    # transformers 5.23 dequantises behind tqdm's own bar; give it the library's, which can be switched off.
    modeling_gguf_pytorch_utils.tqdm = logging.tqdm
    were_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_enabled:
            logging.enable_progress_bar()
