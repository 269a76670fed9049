"""GGUF of every architecture that is written: every weight is found again, turned back into transformers' order of rows.

The tests read files with the `gguf` package; that llama.cpp computes the same from them is shown where llama-cpp-python is installed.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tunesmith.config import ExportConfig, GenerateConfig
from tunesmith.errors import AssetError, ConfigError
from tunesmith.export.chat_template import jinja_template
from tunesmith.export.gguf_file.header import header_of, intended_header, writing_of
from tunesmith.export.gguf_file.tensors import interleaved
from tunesmith.export.gguf_file.write import read_back, write_gguf
from tunesmith.export.ollama.write import plan_ollama
from tunesmith.export.parity import ParityError
from tunesmith.export.prompts import ParityPrompt
from tunesmith.export.subject import Origin, Subject
from tunesmith.tuned import OpenedModel, open_model
from tunesmith.types import Message

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
GEMMA: dict[str, Any] = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-biased": ("llama", {"attention_bias": True}),
    "llama-3.1": ("llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}}),
    "mistral": ("mistral", {"sliding_window": 64}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "gemma2": ("gemma2", GEMMA),
    "gemma3": ("gemma3_text", {**GEMMA, "num_hidden_layers": 6}),
}
PERMUTED = {"llama", "llama-biased", "llama-3.1", "llama-linear", "mistral"}
READABLE = {"llama", "llama-3.1", "llama-linear", "mistral", "qwen2", "gemma2", "gemma3"}
"""transformers' reader of GGUF knows no biases of Llama and no size of Qwen 3's heads."""
COMPARABLE = {"llama", "qwen2"}
"""It reads no scaling of positions, no Mistral and not all of Gemma's settings: there the weights alone are compared."""


def build(kind: str, tiny_llama: Path, directory: Path, **more: Any) -> OpenedModel:
    model_type, settings = KINDS[kind]
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2}
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    values = {**sizes, **ids, "max_position_embeddings": 256, "initializer_range": 0.2, **settings, **more}
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **values), dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name or "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    network.generation_config.eos_token_id = 2
    network.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return open_model(directory, dtype="float32", device="cpu")


@pytest.fixture(scope="module", params=KINDS)
def written(request: pytest.FixtureRequest, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, OpenedModel, Path]:
    directory = tmp_path_factory.mktemp(request.param)
    opened = build(request.param, tiny_llama, directory / "model")
    file = directory / "model.gguf"
    template = jinja_template(opened.renderer)
    write_gguf(opened.hugging_face_network, opened.renderer, file, weight_type="f32", name="tiny", chat_template=template)
    return request.param, opened, file


def test_every_weight_is_there(written: tuple[str, OpenedModel, Path]) -> None:
    kind, opened, file = written
    network = opened.hugging_face_network
    assert "to the bit" in read_back(file, network, "f32", intended_header(opened.renderer, jinja_template(opened.renderer)))
    found = {t.name: np.array(t.data).reshape(t.shape[::-1]) for t in gguf.GGUFReader(file).tensors}
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert len(found) == len(state) - network.config.tie_word_embeddings + ("rope_freqs.weight" in found)
    assert np.array_equal(found["token_embd.weight"], state["model.embed_tokens.weight"])
    assert np.array_equal(found["blk.1.ffn_gate.weight"], state["model.layers.1.mlp.gate_proj.weight"])
    plus = 1.0 if kind.startswith("gemma") else 0.0
    assert np.array_equal(found["output_norm.weight"], state["model.norm.weight"] + np.float32(plus))
    ours = state["model.layers.0.self_attn.k_proj.weight"]
    size = ours.shape[0] // 2
    halves = found["blk.0.attn_k.weight"].reshape(2, size // 2, 2, -1).swapaxes(1, 2).reshape(ours.shape)  # pairs back to halves
    assert np.array_equal(halves if kind in PERMUTED else found["blk.0.attn_k.weight"], ours)


def test_transformers_reads_the_same_network_back(written: tuple[str, OpenedModel, Path]) -> None:
    """Its own reader of GGUF, which turns rows and norms back, is a second opinion on both."""
    kind, opened, file = written
    if kind not in READABLE:
        pytest.skip(f"transformers does not read {kind} whole")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    expected = opened.hugging_face_network.state_dict()
    found = read.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], weight, atol=1e-6) for name, weight in expected.items())
    if kind in COMPARABLE:
        ids = torch.tensor([[1, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150]])
        with torch.no_grad():
            assert torch.allclose(read(ids).logits, opened.hugging_face_network(ids).logits, atol=1e-3)


def test_what_llama_cpp_is_told(written: tuple[str, OpenedModel, Path]) -> None:
    kind, opened, file = written
    fields = {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}
    arch = "llama" if kind in PERMUTED else kind
    assert fields["general.architecture"] == arch
    assert fields[f"{arch}.context_length"] == (64 if kind == "mistral" else 256)  # no further than llama.cpp computes the same
    assert fields[f"{arch}.attention.head_count_kv"] == 2
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == ("qwen2" if kind == "qwen2" else "gpt-2")  # transformers makes a folder of Qwen 2 cut as Qwen 2
    assert fields["tokenizer.ggml.tokens"][1] == "<|im_start|>"
    assert fields["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert fields["tokenizer.ggml.eos_token_id"] == 2
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.chat_template"] == opened.renderer.tokenizer.chat_template
    if kind == "llama-linear":
        assert (fields["llama.rope.scaling.type"], fields["llama.rope.scaling.factor"]) == ("linear", 2.0)
    if kind.startswith("gemma"):
        assert fields[f"{arch}.attention.sliding_window"] == 8


def test_llama_3_frequencies_are_those_of_transformers(tiny_llama: Path, tmp_path: Path) -> None:
    opened = build("llama-3.1", tiny_llama, tmp_path / "model", head_dim=16)
    file = tmp_path / "model.gguf"
    write_gguf(opened.hugging_face_network, opened.renderer, file, weight_type="f32", name="tiny", chat_template=None)
    factors = next(np.array(t.data) for t in gguf.GGUFReader(file).tensors if t.name == "rope_freqs.weight")
    plain = 10_000.0 ** -(np.arange(0, 16, 2) / 16)
    scaled: Any = opened.hugging_face_network.model.rotary_emb.inv_freq
    assert np.allclose(plain / factors, scaled.numpy(), rtol=1e-5)


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_llama_cpp_computes_the_same(written: tuple[str, OpenedModel, Path]) -> None:
    from tunesmith.export.runtimes import LlamaCppRuntime

    _, opened, file = written
    ids = opened.renderer.prompt_ids([Message(role="user", content="What is red?")])
    (ours,) = opened.complete_prompts([ids], GenerateConfig(max_new_tokens=12, logprobs=0))
    runtime = LlamaCppRuntime(file, context_length=64, render=None)
    assert tuple(runtime.answer(ids, 12)) == ours.token_ids
    assert ours.logprobs is not None
    assert runtime.logprobs(ids, ours.token_ids) == pytest.approx([one.logprob for one in ours.logprobs], abs=2e-3)


def test_a_modelfile_asks_for_no_more_context_than_the_file_has(tiny_llama: Path, tmp_path: Path) -> None:
    opened = build("mistral", tiny_llama, tmp_path / "model")  # 256 positions, windows of 64
    origin = Origin(name="x", licence="unknown", hub_id=None, source="")
    subject = Subject(name="x", opened=opened, run=None, origin=origin, base_dtype="float32")
    assert plan_ollama(subject, ExportConfig()).num_ctx == 64
    assert plan_ollama(subject, ExportConfig(num_ctx=32)).num_ctx == 32
    with pytest.raises(ConfigError, match="at most the file's 64"):
        plan_ollama(subject, ExportConfig(num_ctx=65))


@pytest.mark.parametrize(
    ("kind", "settings", "found"),
    [
        ("gemma3", {"query_pre_attn_scalar": 24}, "query_pre_attn_scalar 24"),
        ("gemma3", {"layer_types": ["full_attention", *["sliding_attention"] * 4, "full_attention"]}, "no regular order"),
        ("llama", {"hidden_act": "gelu"}, "activation gelu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "of type dynamic"),
        ("qwen2", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "of type yarn; expected one of"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    kind: str, settings: dict[str, Any], found: str, tiny_llama: Path, tmp_path: Path
) -> None:
    opened = build(kind, tiny_llama, tmp_path / "model", **settings)
    with pytest.raises(ConfigError, match=found):
        write_gguf(opened.hugging_face_network, opened.renderer, tmp_path / "x.gguf", weight_type="f32", name="x", chat_template=None)


def test_another_architecture_is_refused_by_name(tiny_llama: Path, tmp_path: Path) -> None:
    opened = build("llama", tiny_llama, tmp_path / "model")
    opened.hugging_face_network.config.model_type = "olmo2"
    with pytest.raises(ConfigError, match="the architecture olmo2; expected one of llama, mistral, qwen2"):
        write_gguf(opened.hugging_face_network, opened.renderer, tmp_path / "x.gguf", weight_type="f32", name="x", chat_template=None)


def test_a_spoilt_file_is_noticed(tiny_llama: Path, tmp_path: Path) -> None:
    opened = build("llama", tiny_llama, tmp_path / "model")
    network, file = opened.hugging_face_network, tmp_path / "x.gguf"
    write_gguf(network, opened.renderer, file, weight_type="f16", name="x", chat_template=None)
    with torch.no_grad():
        network.get_parameter("model.layers.0.self_attn.q_proj.weight")[3, 3] += 0.01
    with pytest.raises(AssetError, match=r"blk\.0\.attn_q\.weight is not the one"):
        read_back(file, network, "f16", intended_header(opened.renderer, None))


@pytest.mark.parametrize(
    ("method", "wrong", "found"),
    [
        ("add_chat_template", "{{ 'Hello' }}", "its chat_template is \"{{ 'Hello' }}\""),
        ("add_eos_token_id", 0, "its eos_id is 0; expected 2"),
        ("add_bos_token_id", 0, "its bos_id is 0; expected 1"),
        ("add_add_bos_token", True, "its adds_bos is True; expected False"),
    ],
)
def test_a_file_that_prompts_or_ends_otherwise_is_noticed(
    method: str, wrong: Any, found: str, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = build("llama", tiny_llama, tmp_path / "model")
    file, template, write = tmp_path / "x.gguf", jinja_template(opened.renderer), getattr(gguf.GGUFWriter, method)
    monkeypatch.setattr(gguf.GGUFWriter, method, lambda writer, _: write(writer, wrong))
    write_gguf(opened.hugging_face_network, opened.renderer, file, weight_type="f16", name="x", chat_template=template)
    with pytest.raises(ParityError, match=re.escape(found)):
        read_back(file, opened.hugging_face_network, "f16", intended_header(opened.renderer, template))


def test_prompts_are_written_by_the_files_own_template(tiny_llama: Path, tmp_path: Path) -> None:
    opened = build("llama", tiny_llama, tmp_path / "model")
    file, prompt = tmp_path / "x.gguf", ParityPrompt(source="x", messages=(Message(role="user", content="Why?"),), token_ids=())
    template = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}"
    write_gguf(opened.hugging_face_network, opened.renderer, file, weight_type="f16", name="x", chat_template=template)
    assert writing_of(header_of(gguf.GGUFReader(file)), opened.renderer, file=file)(prompt) == "<Why?>"
    write_gguf(opened.hugging_face_network, opened.renderer, file, weight_type="f16", name="x", chat_template=None)
    with pytest.raises(ParityError, match="has no chat template"):
        writing_of(header_of(gguf.GGUFReader(file)), opened.renderer, file=file)(prompt)


def test_halves_become_pairs() -> None:
    rows = np.array([[0], [1], [2], [10], [11], [12]], np.float32)  # one head: x0 x1 x2 | y0 y1 y2
    assert interleaved(rows, 1, 6).ravel().tolist() == [0, 10, 1, 11, 2, 12]
