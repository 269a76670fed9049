"""Handing over to vLLM: the command that serves the same models with our template and stop tokens.

    vllm serve …/smollm2-135m-instruct --served-model-name smollm2-135m-instruct --enable-lora --lora-modules faq=runs/faq/model …

vLLM has one chat template for all models of a server and renders text, so what a user wrote that looks like a special token
becomes one there; our own server keeps it text. Prompts without such strings are the same, token for token.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import string
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith import assets
from tunesmith.config import ADAPTER_METHODS, ServeConfig
from tunesmith.engine.loading import load_tokenizer
from tunesmith.errors import ConfigError
from tunesmith.files import write_json, write_text
from tunesmith.render.renderer import Renderer
from tunesmith.render.templates import TextTemplate, field_names
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.serve.gate import is_loopback
from tunesmith.tuned import base_directory, stored_renderer

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as `--max-lora-rank`."""
KEY_VARIABLE = "VLLM_API_KEY"


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One model to serve: a folder of weights, perhaps with an adapter."""

    name: str
    base_dir: Path
    base_name: str
    renderer: Renderer
    adapter_dir: Path | None = None
    rank: int = 0
    is_quantized: bool = False


def vllm_command(config: ServeConfig, *, directory: Path | None = None, say: Callable[[str], None] | None = None) -> list[str]:
    """The command line. Chat template and generation settings are written into `directory` (None: a new temporary one).

    Raises:
        ConfigError: vLLM cannot serve these models in one process, or cannot serve one of them at all.
    """
    if config.guardrails is not None:
        remedy = "leave --guardrails out, or use --engine tunesmith"
        raise ConfigError("--guardrails", "vLLM knows none of our rules", expected="our own engine", remedy=remedy)
    parts = [_part(reference, say) for reference in config.models]
    _require_alike(parts)
    folder = directory or Path(tempfile.mkdtemp(prefix="tunesmith-vllm-"))
    first = parts[0]
    write_text(folder / "chat_template.jinja", chat_template(first.renderer))
    stop_ids = sorted(first.renderer.stop_ids)
    write_json(folder / "generation_config.json", {"eos_token_id": stop_ids, "temperature": config.temperature})
    command = ["vllm", "serve", str(first.base_dir), "--served-model-name", first.base_name]
    command += ["--host", config.host, "--port", str(config.port), "--dtype", config.dtype]
    command += ["--chat-template", str(folder / "chat_template.jinja"), "--generation-config", str(folder)]
    if first.is_quantized:
        command += ["--quantization", "bitsandbytes"]
    if adapters := [part for part in parts if part.adapter_dir is not None]:
        rank = max(part.rank for part in adapters)
        command += ["--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", str(_taken_rank(rank))]
        command += ["--lora-modules", *(f"{part.name}={part.adapter_dir}" for part in adapters)]
    return command


def hand_over(command: Sequence[str], config: ServeConfig) -> None:
    """Become vLLM. Never returns.

    Raises:
        ConfigError: vLLM or a GPU is missing, or a public address has no key.
    """
    program = shutil.which(command[0])
    if program is None or importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "--engine vllm", "vLLM is not installed", expected="the package vllm", remedy="install it with `pip install vllm`"
        )
    if not torch.cuda.is_available():
        raise ConfigError("--engine vllm", "there is no CUDA device", expected="a GPU that torch can see", remedy="use --engine tunesmith")
    if not is_loopback(config.host) and not os.environ.get(KEY_VARIABLE):
        raise ConfigError(
            f"--host {config.host}",
            f"other machines can reach this address, and {KEY_VARIABLE} is not set",
            expected=f"a loopback address, or a key in {KEY_VARIABLE}: vLLM keeps no hashes",
            remedy=f"set {KEY_VARIABLE}",
        )
    os.execvp(program, list(command))  # noqa: S606 - no shell on purpose


def chat_template(renderer: Renderer) -> str:
    """A Jinja template that writes what the renderer gives, for tokenizers that add nothing of their own."""
    template = renderer.template
    if isinstance(template, TextTemplate):
        body = _from_text_template(template, renderer.end_of_turn)
    else:
        body = str(renderer.tokenizer.chat_template)
        if turn_start := getattr(template, "turn_start", ""):
            body += "{% if add_generation_prompt %}" + _written(turn_start) + "{% endif %}"
    return "{{ bos_token }}" + body if _lacks_bos(renderer, body) else body


def _lacks_bos(renderer: Renderer, body: str) -> bool:
    """Whether the renderer puts a token before everything that the template does not write."""
    if renderer.bos_id is None:
        return False
    probe = [{"role": "user", "content": "question"}]
    text = renderer.tokenizer.apply_chat_template(probe, chat_template=body, tokenize=False, add_generation_prompt=True)
    return not text.startswith(renderer.tokenizer.bos_token)


def _from_text_template(template: TextTemplate, end_of_turn: str) -> str:
    """Turn after turn as `TextTemplate.prompt_pieces` does; a system message leads, unless the template places it."""
    names = field_names(template.body)
    values = {"prompt": "message['content']", "instruction": "message['content']", "system": "told.text"}
    if unknown := names - values.keys() - {"input"}:
        raise ConfigError(
            f"template {template.name}",
            f"the field {{{sorted(unknown)[0]}}}, which no chat message has",
            expected="prompt, instruction and system alone",
            remedy="use --engine tunesmith, or train with another template",
        )
    filled = "".join(_written(text) + (f"{{{{ {values[name]} }}}}" if name in values else "") for text, name in _parsed(template.body))
    told = "{% set told = namespace(text='') %}{% for message in messages %}{% if message['role'] == 'system' %}"
    told += "{% set told.text = told.text + message['content'] %}{% endif %}{% endfor %}"
    leading = "" if "system" in names else "{% if told.text %}{{ told.text + '\\n\\n' }}{% endif %}"
    answer = "{{ message['content'] }}" + _written(end_of_turn + "\n\n")
    turns = "{% for message in messages %}{% if message['role'] == 'assistant' %}" + answer
    turns += "{% elif message['role'] != 'system' %}" + filled + "{% endif %}{% endfor %}"
    return told + leading + turns


def _parsed(body: str) -> list[tuple[str, str]]:
    return [(text, name or "") for text, name, _, _ in string.Formatter().parse(body)]


def _written(text: str) -> str:
    """Jinja that writes exactly this."""
    return "{{ " + json.dumps(text) + " }}" if text else ""


def _part(reference: str, say: Callable[[str], None] | None) -> _Part:
    if not is_run(reference):
        resolved = assets.resolve_model(reference, on_progress=say)
        renderer = Renderer.for_model(load_tokenizer(resolved.directory), "auto", _own_stop_ids(resolved.directory))
        return _Part(name=resolved.name, base_dir=resolved.directory, base_name=resolved.name, renderer=renderer)
    run = open_run(Path(reference))
    manifest, record = run.manifest(), run.record()
    if manifest["method"] not in ADAPTER_METHODS:
        renderer = stored_renderer(run, load_tokenizer(run.model_dir))
        return _Part(name=run.name, base_dir=run.model_dir.resolve(), base_name=run.name, renderer=renderer)
    base_dir = base_directory(record)
    _require_plain_lora(run, record)
    return _Part(
        name=run.name,
        base_dir=base_dir,
        base_name=str(record["model"]["name"]),
        renderer=stored_renderer(run, load_tokenizer(base_dir)),
        adapter_dir=run.model_dir.resolve(),
        rank=_adapter_settings(run)["r"],
        is_quantized=manifest["method"] == "qlora",
    )


def _own_stop_ids(directory: Path) -> list[int]:
    """Where the model's own generation settings stop."""
    file = directory / "generation_config.json"
    ids = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id") if file.is_file() else None
    return [ids] if isinstance(ids, int) else list(ids or [])


def _adapter_settings(run: RunDirectory) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((run.model_dir / "adapter_config.json").read_text(encoding="utf-8"))
    return settings


def _require_plain_lora(run: RunDirectory, record: dict[str, Any]) -> None:
    settings = _adapter_settings(run)
    for is_so, what in ((settings.get("use_dora"), "DoRA"), (record["config"].get("new_tokens"), "new tokens")):
        if is_so:
            raise ConfigError(
                str(run.path),
                f"it was trained with {what}, which vLLM's adapters cannot have",
                expected="plain LoRA",
                remedy="serve it with --engine tunesmith, or export it merged and serve that",
            )


def _require_alike(parts: Sequence[_Part]) -> None:
    """One base, one template: a vLLM server has no more."""
    first = parts[0]
    for part in parts[1:]:
        if (part.base_dir, part.is_quantized) != (first.base_dir, first.is_quantized):
            found, expected = f"{part.name} has another base model than {first.name}", "models of one base"
        elif chat_template(part.renderer) != chat_template(first.renderer) or part.renderer.stop_ids != first.renderer.stop_ids:
            found, expected = f"{part.name} has another template or other stop tokens than {first.name}", "one template for all"
        else:
            continue
        raise ConfigError("--engine vllm", found, expected=expected, remedy="start a server for each, or use --engine tunesmith")


def _taken_rank(rank: int) -> int:
    return next((one for one in LORA_RANKS if one >= rank), rank)
