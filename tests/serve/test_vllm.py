"""The command that is handed to vLLM, and its chat template: what it writes is what our renderer gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.samples import fixed_answer_pairs, messages, prepare_qa
from tests.serve.conftest import BASE, OTHER, TUNED
from tunesmith.config import LoraConfig, ServeConfig, TrainConfig
from tunesmith.engine.loading import load_tokenizer
from tunesmith.errors import ConfigError
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory
from tunesmith.serve.vllm import hand_over, vllm_command
from tunesmith.train.train import train
from tunesmith.vllm.chat_template import chat_template

CONVERSATIONS = [
    messages(("u", "What is 1?")),
    messages(("s", "Be kind."), ("u", "What is 2?")),
    messages(("s", "Be kind."), ("u", "What is 2?"), ("a", "Two."), ("u", "{{ 3 }} and {% 4 %}?")),
]


def test_the_command(runs: tuple[Path, ...], tiny_llama: Path, tmp_path: Path) -> None:
    config = ServeConfig(models=tuple(map(str, runs)), port=9000, temperature=0.5)
    command = vllm_command(config, directory=tmp_path)
    assert command == [
        "vllm", "serve", str(tiny_llama), "--served-model-name", BASE, "--host", "127.0.0.1", "--port", "9000", "--dtype", "auto",
        "--chat-template", str(tmp_path / "chat_template.jinja"), "--generation-config", str(tmp_path),
        "--enable-lora", "--max-loras", "2", "--max-lora-rank", "16",
        "--lora-modules", f"{TUNED}={runs[0].resolve() / 'model'}", f"{OTHER}={runs[1].resolve() / 'model'}",
    ]  # fmt: skip
    settings = json.loads((tmp_path / "generation_config.json").read_text(encoding="utf-8"))
    assert settings == {"eos_token_id": [2], "temperature": 0.5}


def test_a_model_without_adapters(tiny_llama: Path, tmp_path: Path) -> None:
    command = vllm_command(ServeConfig(models=(str(tiny_llama),)), directory=tmp_path)
    assert command[:5] == ["vllm", "serve", str(tiny_llama), "--served-model-name", BASE]
    assert "--enable-lora" not in command


@pytest.mark.parametrize(("model", "name"), [("tiny_llama", "auto"), ("tiny_llama", "qa"), ("tiny_llama", "alpaca"), ("tiny_gemma", "qa")])
def test_the_template_writes_what_the_renderer_gives(request: pytest.FixtureRequest, model: str, name: str) -> None:
    tokenizer = load_tokenizer(request.getfixturevalue(model))
    renderer = Renderer.for_model(tokenizer, name)
    for conversation in CONVERSATIONS:
        turns = [{"role": one.role, "content": one.content} for one in conversation]
        text = tokenizer.apply_chat_template(turns, chat_template=chat_template(renderer), tokenize=False, add_generation_prompt=True)
        assert text == renderer.decode(renderer.prompt_ids(conversation))


def test_a_template_of_the_users(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    (tmp_path / "shop.txt").write_text("System: {system}\nCustomer: {prompt}\nAgent:", encoding="utf-8")
    renderer = Renderer.for_model(tokenizer, str(tmp_path / "shop.txt"))
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": 'a "quoted" \\ word'}]
    text = tokenizer.apply_chat_template(turns, chat_template=chat_template(renderer), tokenize=False, add_generation_prompt=True)
    assert text == renderer.decode(renderer.prompt_ids(messages(("s", "Be kind."), ("u", 'a "quoted" \\ word'))))
    (tmp_path / "odd.txt").write_text("{product}: {prompt}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the field \{product\}"):
        chat_template(Renderer.for_model(tokenizer, str(tmp_path / "odd.txt")))


def small_run(directory: Path, name: str, model: Path, **settings: object) -> RunDirectory:
    data = prepare_qa(directory / f"{name}-data", fixed_answer_pairs(8), template=str(settings.pop("template", "auto")))
    config = TrainConfig(model=str(model), data=data.directory, max_steps=1, dtype="float32", estimate=False, **settings)  # type: ignore[arg-type]
    return train(config, runs_dir=directory, name=name)


def test_what_vllm_cannot_serve(runs: tuple[Path, ...], tiny_llama: Path, tmp_path: Path) -> None:
    with_dora = small_run(tmp_path, "dora", tiny_llama, lora=LoraConfig(dora=True))
    with pytest.raises(ConfigError, match="trained with DoRA"):
        vllm_command(ServeConfig(models=(str(with_dora.path),)), directory=tmp_path)
    whole = small_run(tmp_path, "full", tiny_llama, method="full")
    with pytest.raises(ConfigError, match="full has another base model"):
        vllm_command(ServeConfig(models=(str(runs[0]), str(whole.path))), directory=tmp_path)
    other = small_run(tmp_path, "qa", tiny_llama, template="qa")
    with pytest.raises(ConfigError, match="qa has another template"):
        vllm_command(ServeConfig(models=(str(runs[0]), str(other.path))), directory=tmp_path)


def test_without_vllm_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"vLLM is not installed: there is no program `vllm` on PATH; expected .*install it with `pip install vllm`"
    ):
        hand_over(["vllm", "serve"], ServeConfig(models=("x",)))


def test_names_and_the_users_own_words(runs: tuple[Path, ...], tiny_llama: Path, tmp_path: Path) -> None:
    config = ServeConfig(models=(str(runs[0]),), vllm_options="--gpu-memory-utilization 0.5 --seed '1'")
    assert vllm_command(config, directory=tmp_path)[-4:] == ["--gpu-memory-utilization", "0.5", "--seed", "1"]
    with pytest.raises(ConfigError, match="No closing quotation"):
        vllm_command(ServeConfig(models=(str(runs[0]),), vllm_options="--seed '1"), directory=tmp_path)
    shadowed = small_run(tmp_path, BASE, tiny_llama)
    with pytest.raises(ConfigError, match=f"two models are called '{BASE}'"):
        vllm_command(ServeConfig(models=(str(shadowed.path),)), directory=tmp_path)
