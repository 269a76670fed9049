"""A converted GGUF file is the same model: weights, config, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors import safe_open

from tunesmith.assets import convert_gguf
from tunesmith.errors import AssetError

from .fakes import CONTEXT, LAYERS, tensors, vocabulary, write_tiny_gguf


def weights(folder: Path) -> dict[str, np.ndarray]:
    with safe_open(folder / "model.safetensors", framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def test_weights_are_the_dequantised_values_to_the_bit(tiny_folder: Path) -> None:
    found, original = weights(tiny_folder), tensors()
    kind = gguf.GGMLQuantizationType.Q4_1
    for layer in range(LAYERS):
        for ours, theirs in (("gate", "gate"), ("up", "up"), ("down", "down")):
            expected = gguf.dequantize(gguf.quantize(original[f"blk.{layer}.ffn_{theirs}.weight"], kind), kind)
            np.testing.assert_array_equal(found[f"model.layers.{layer}.mlp.{ours}_proj.weight"], expected)
        np.testing.assert_array_equal(found[f"model.layers.{layer}.input_layernorm.weight"], original[f"blk.{layer}.attn_norm.weight"])
    np.testing.assert_array_equal(found["model.embed_tokens.weight"], original["token_embd.weight"])
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_tied_embeddings_are_stored_once_and_stay_tied(tiny_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert "lm_head.weight" not in weights(tiny_folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_config_has_no_trace_of_gguf(tiny_folder: Path) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["dtype"] == "float32"
    assert config["max_position_embeddings"] == CONTEXT
    assert not {"quantization_config", "_name_or_path", "_model_name_or_path"} & set(config)
    generation = json.loads((tiny_folder / "generation_config.json").read_text())
    del generation["transformers_version"]
    assert generation == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def test_tokenizer_has_the_files_special_tokens_and_template(tiny_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 2, 2, 0)
    assert tokenizer.model_max_length == CONTEXT
    ids = {token: index for index, token in enumerate(vocabulary())}
    rendered = tokenizer.apply_chat_template([{"role": "u", "content": "hi"}], tokenize=False)
    assert tokenizer(rendered).input_ids == [1, ids["u"], ids["Ċ"], ids["hi"], 2, ids["Ċ"]]


def test_white_space_before_a_digit_stays_whole(tiny_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("a\n\n12  3").input_ids) == ["a", "ĊĊ", "1", "2", "ĠĠ", "3"]


def test_progress_comes_as_sentences_not_bars(tiny_gguf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    said: list[str] = []
    convert_gguf(tiny_gguf, tmp_path, on_progress=said.append)
    captured = capfd.readouterr()
    assert "it/s" not in captured.err + captured.out
    assert said == ["Dequantising tiny.Q4_1.gguf to float32.", "Writing the converted model."]
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("content", [b"", b"not a GGUF file at all", b"GGUF\x03\x00\x00\x00"], ids=["empty", "text", "header only"])
def test_a_file_that_is_not_gguf_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.gguf"
    file.write_bytes(content)
    with pytest.raises(AssetError, match=r"bad\.gguf: it cannot be read"):
        convert_gguf(file, tmp_path)


def test_a_cut_file_is_refused(tiny_gguf: Path, tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(tiny_gguf.read_bytes()[:-5000])
    with pytest.raises(AssetError, match=r"cut\.gguf: it cannot be read"):
        convert_gguf(file, tmp_path)


def test_a_missing_tensor_is_not_filled_with_random_numbers(tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "shard.gguf", omit="blk.1.ffn_up.weight")
    with pytest.raises(AssetError, match=r"lacks 1 of the model's tensors, model\.layers\.1\.mlp\.up_proj\.weight first"):
        convert_gguf(file, tmp_path)
