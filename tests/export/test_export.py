"""Whole exports of tiny runs: what is written loads in its own runtime as the same model, and what is not the same is set aside."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tunesmith.config import ExportConfig
from tunesmith.errors import AssetError, ConfigError, DataError
from tunesmith.export import merged as merged_module
from tunesmith.export.export import Exported, Kind, export_data, export_model
from tunesmith.export.gguf_file import four_bits
from tunesmith.export.ollama.go_template import render_go
from tunesmith.export.parity import ParityError
from tunesmith.runs import RunDirectory
from tunesmith.tuned import open_tuned
from tunesmith.types import Message

QUESTION = [Message(role="user", content="What is 7?")]


def export(run: RunDirectory | Path, kind: Kind, out: Path, **settings: Any) -> Exported:
    config = ExportConfig(parity_examples=2, parity_tokens=6, **settings)
    return export_model(run.path if isinstance(run, RunDirectory) else run, kind, config, out=out, device="cpu")


def parity_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    return values


@pytest.mark.parametrize("name", ["chat_run", "qa_run", "full_run"])
def test_merged_is_the_adapters_model(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run: RunDirectory = request.getfixturevalue(name)
    opened = open_tuned(run, dtype="float32", device="cpu")
    ids = torch.tensor([opened.renderer.prompt_ids(QUESTION)])
    with torch.no_grad():
        expected = opened.network(input_ids=ids, use_cache=False).logits
    done = export(run, "merged", tmp_path / "out")
    network = AutoModelForCausalLM.from_pretrained(done.directory, dtype="auto")
    assert network.dtype == torch.float32  # the base's
    with torch.no_grad():
        assert torch.allclose(network(input_ids=ids).logits, expected, atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(done.directory)
    turns = [{"role": "user", "content": "What is 7?"}]
    assert tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False) == ids[0].tolist()
    stops = GenerationConfig.from_pretrained(done.directory).eos_token_id
    assert set(stops) == opened.renderer.stop_ids
    assert stops[0] == opened.renderer.end_of_turn_id
    (runtime,) = parity_of(done.directory)["runtimes"]
    assert runtime["num_equal_prompts"] == runtime["num_equal_answers"] == runtime["num_prompts"] == 2
    assert runtime["largest_difference"] < 1e-3


def test_merged_in_another_type(chat_run: RunDirectory, tmp_path: Path) -> None:
    done = export(chat_run, "merged", tmp_path / "out", dtype="bfloat16")
    exact = export(chat_run, "merged", tmp_path / "exact")
    rounded, whole = load_file(done.directory / "model.safetensors"), load_file(exact.directory / "model.safetensors")
    assert all(torch.equal(rounded[name], tensor.to(torch.bfloat16)) for name, tensor in whole.items())


@pytest.mark.parametrize("weight_type", ["f32", "f16", "bf16", "q8_0"])
def test_gguf_holds_the_merged_weights(weight_type: str, chat_run: RunDirectory, tmp_path: Path) -> None:
    done = export(chat_run, "gguf", tmp_path / "out", gguf_type=weight_type)
    merged = load_file(export(chat_run, "merged", tmp_path / "merged").directory / "model.safetensors")
    reader = gguf.GGUFReader(done.directory / f"faq-{weight_type}.gguf")
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1]) for t in reader.tensors}
    assert len(found) == len(merged)  # tied: the output layer is in neither
    down = merged["model.layers.1.mlp.down_proj.weight"].numpy()
    kinds = {"f32": down, "f16": down.astype(np.float16).astype(np.float32)}
    kinds["bf16"] = merged["model.layers.1.mlp.down_proj.weight"].to(torch.bfloat16).float().numpy()
    if weight_type == "q8_0":
        step = np.abs(down.reshape(-1, 32)).max(-1, keepdims=True) / 127
        assert (np.abs(found["blk.1.ffn_down.weight"] - down).reshape(-1, 32) <= 0.57 * step).all()
        assert not np.array_equal(found["blk.1.ffn_down.weight"], down)
    else:
        assert np.array_equal(found["blk.1.ffn_down.weight"], kinds[weight_type])
    if find_spec("llama_cpp") is None:
        assert "llama-cpp-python is not installed" in parity_of(done.directory)["not_checked"][0]
        assert parity_of(done.directory)["runtimes"] == []


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
@pytest.mark.parametrize("name", ["chat_run", "qa_run", "full_run"])
@pytest.mark.parametrize("kind", ["gguf", "ollama"])
def test_llama_cpp_gives_the_same_answers(name: str, kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    done = export(request.getfixturevalue(name), kind, tmp_path / "out", gguf_type="f32")
    (runtime,) = parity_of(done.directory)["runtimes"]
    assert runtime["num_equal_prompts"] == runtime["num_equal_answers"] == runtime["num_prompts"] == 2


def test_a_modelfile_prompts_with_our_tokens(chat_run: RunDirectory, qa_run: RunDirectory, tmp_path: Path) -> None:
    for number, run in enumerate((chat_run, qa_run)):
        done = export(run, "ollama", tmp_path / str(number), temperature=0.5, num_ctx=128)
        text = (done.directory / "Modelfile").read_text(encoding="utf-8")
        parts = text.split('"""')
        assert text.startswith("FROM ./faq-f16.gguf\nTEMPLATE ")
        messages = [{"Role": "user", "Content": "What is 7?"}]
        if "SYSTEM" in parts[2]:
            messages.insert(0, {"Role": "system", "Content": parts[3]})
        rendered = render_go(parts[1], {"Messages": messages, "System": messages[0]["Content"] if len(messages) > 1 else ""})
        renderer = open_tuned(run, dtype="float32", device="cpu").renderer
        ids = renderer.prompt_ids(QUESTION)
        assert tuple(renderer.encoder(rendered, literal=False)) == ids[renderer.bos_id is not None :]
        stop = renderer.decode([renderer.end_of_turn_id])
        assert f'PARAMETER stop "{stop}"\n' in text
        settings = ["temperature 0.5", "repeat_penalty 1", "top_k 0", "top_p 1", "num_ctx 128"]  # Ollama's own penalise and leave out
        assert text.splitlines()[-5:] == [f"PARAMETER {setting}" for setting in settings]


def test_an_adapter_for_peft(chat_run: RunDirectory, qa_run: RunDirectory, tmp_path: Path) -> None:
    for number, run in enumerate((chat_run, qa_run)):
        done = export(run, "adapter", tmp_path / str(number))
        assert {name for name, _ in done.files} >= {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md"}
        settings = json.loads((done.directory / "adapter_config.json").read_text(encoding="utf-8"))
        assert "/" not in settings["base_model_name_or_path"]
        (runtime,) = parity_of(done.directory)["runtimes"]
        assert runtime["runtime"].startswith("PEFT")
        assert runtime["num_equal_answers"] == 2


def test_runs_without_an_adapter_have_none_to_export(full_run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no adapter"):
        export(full_run, "adapter", tmp_path / "out")


def test_a_model_that_is_no_run(tiny_llama: Path, tmp_path: Path) -> None:
    done = export(tiny_llama, "merged", tmp_path / "out")
    assert parity_of(done.directory)["prompts"] == "prompts of tunesmith's own"


def test_what_is_not_the_same_is_set_aside(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(network: Any, dtype: torch.dtype) -> None:
        network.get_input_embeddings().weight.data[5:] *= 1.5

    monkeypatch.setattr(merged_module, "cast", spoilt)
    for failed in ("out.failed", "out-2.failed"):
        with pytest.raises(ParityError, match="not the model it was made from") as caught:
            export(chat_run, "merged", tmp_path / "out")
        assert caught.value.exit_code == 3
        assert parity_of(tmp_path / failed)["passed"] is False
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_template_that_gives_other_tokens_is_noticed(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_module, "jinja_template", lambda renderer: "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    with pytest.raises(ParityError, match="the prompt has other tokens than ours"):
        export(chat_run, "merged", tmp_path / "out")


def test_nothing_is_overwritten(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.export.export.open_subject", None)  # it is told before a model is opened
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="never overwritten"):
        export(chat_run, "merged", tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.trace,)  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_a_pickle_is_refused_and_not_loaded(name: str, chat_run: RunDirectory, tmp_path: Path) -> None:
    run = shutil.copytree(chat_run.path, tmp_path / "faq")
    (run / "model" / "adapter_model.safetensors").unlink()
    (run / "model" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(AssetError, match="safetensors"):
        export(run, "merged", tmp_path / "out")
    assert not (tmp_path / "exploded").exists()


def test_a_base_whose_weights_are_pickled_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AssetError, match="pickled"):
        export(folder, "merged", tmp_path / "out")


def test_the_card(qa_run: RunDirectory, tmp_path: Path) -> None:
    done = export(qa_run, "merged", tmp_path / "out")
    _, head, body = (done.directory / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["license"] == "gemma"
    assert metadata["library_name"] == "transformers"
    assert "base_model" not in metadata  # it is a folder here, no hub's
    for piece in ("Gemma Terms of Use", "### Question:\n{prompt}", "<eos>", "Not evaluated.", str(qa_run.record()["data"]["fingerprint"])):
        assert piece in body
    assert "| method | lora |" in body
    assert "greedy answers equal in 2 of 2" in body
    assert str(tmp_path) not in body
    assert str(qa_run.path.parent) not in body


def test_four_bits_need_the_tool(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="llama-quantize is not installed"):
        export(chat_run, "gguf", tmp_path / "out", gguf_type="q4_k_m")


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for llama.cpp's tool: it is given source, target and type."""
    tool = folder / four_bits.TOOL
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr("tunesmith.export.export.has_llama_cpp", lambda: False)


def test_four_bits_through_the_tool(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, f'cp "$1" "$2" && printf "%s" "$3" > {tmp_path}/asked', monkeypatch)
    done = export(chat_run, "gguf", tmp_path / "out", gguf_type="q4_0")
    assert [name for name, _ in done.files if name.endswith(".gguf")] == ["faq-q4_0.gguf"]
    assert (tmp_path / "asked").read_text(encoding="utf-8") == "Q4_0"
    assert done.parity.read_back is not None
    assert done.parity.read_back.startswith("before llama-quantize made q4_0 of it: ")
    assert "of the weights in f16" in done.parity.read_back  # as this one, which only copies, left them


def test_a_tool_that_fails_is_told_in_its_own_words(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "echo 'libllama.so: cannot open' >&2; exit 3", monkeypatch)
    with pytest.raises(AssetError, match=r"llama-quantize failed \(libllama.so: cannot open\)"):
        export(chat_run, "gguf", tmp_path / "out", gguf_type="q4_0")
    assert not (tmp_path / "out").exists()


def test_a_tool_that_does_not_start_is_told_at_once(chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "echo 'libggml.so.0: cannot open shared object file' >&2; exit 127", monkeypatch)
    monkeypatch.setattr("tunesmith.export.export.open_subject", None)  # nothing is opened before
    with pytest.raises(ConfigError, match=r"does not start \(libggml"):
        export(chat_run, "gguf", tmp_path / "out", gguf_type="q4_0")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("writer.add_eos_token_id(0)", "its eos_id is 0"),
        ("writer.add_tensor('extra.weight', np.zeros(4, np.float32))", "wrote other tensors, extra.weight among them"),
    ],
)
def test_what_the_tool_lost_is_noticed(
    change: str, found: str, chat_run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "rewrite.py"
    script.write_text(REWRITE.format(change=change), encoding="utf-8")
    stand_in(tmp_path, f'{sys.executable} {script} "$1" "$2"', monkeypatch)
    with pytest.raises(ParityError, match=found):
        export(chat_run, "gguf", tmp_path / "out", gguf_type="q4_0")


REWRITE = """
import sys
import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
reader, writer = GGUFReader(sys.argv[1]), GGUFWriter(sys.argv[2], "llama")
for name, field in reader.fields.items():
    if not name.startswith("GGUF.") and name != "general.architecture" and not (name.endswith("eos_token_id") and "eos" in {change!r}):
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
for tensor in reader.tensors:
    writer.add_tensor(tensor.name, tensor.data)
{change}
writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
"""
"""Copies a GGUF file through the `gguf` package, with one thing changed."""


def test_the_data_for_hosted_tuners(chat_run: RunDirectory, tiny_llama: Path, tmp_path: Path) -> None:
    files = export_data(chat_run.path, tmp_path / "out")
    assert [file.path.name for file in files] == ["train.jsonl", "validation.jsonl"]
    with pytest.raises(ConfigError, match="is no run"):
        export_data(tiny_llama, tmp_path / "other")


def test_weights_changed_after_training_are_noticed(chat_run: RunDirectory, tmp_path: Path) -> None:
    """A torn or foreign adapter is not silently exported as the run's: its tensors are read as they are, the base's are checked."""
    run = shutil.copytree(chat_run.path, tmp_path / "faq")
    base = tmp_path / "base"
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    shutil.copytree(record["model"]["directory"], base)
    weights = load_file(base / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, base / "model.safetensors", metadata={"format": "pt"})
    record["model"]["directory"] = str(base)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(Exception, match="weights have changed"):
        export(run, "merged", tmp_path / "out")
