"""The merged model as a folder that `from_pretrained` loads: safetensors, tokenizer, chat template, generation settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tunesmith.engine.quantize import cast
from tunesmith.export.chat_template import jinja_template
from tunesmith.export.subject import Dtype, Subject, torch_dtype
from tunesmith.files import write_json
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory

TRACES = ("_name_or_path", "quantization_config")
"""Of a config: where the base lay on this machine, and the four bits that the merged weights no longer have."""


def write_merged(network: PreTrainedModel, subject: Subject, directory: Path, dtype: Dtype) -> None:
    """Write everything but the card into an existing folder; `network` has that type afterwards."""
    transformers_logging.disable_progress_bar()
    cast(network, torch_dtype(dtype))
    config: Any = network.config
    for trace in TRACES:
        config.__dict__.pop(trace, None)
    config.dtype = torch_dtype(dtype)
    network.generation_config = generation_config(subject.opened.renderer)
    network.save_pretrained(directory)
    write_tokenizer(subject, directory)


def write_adapter(subject: Subject, run: RunDirectory, directory: Path) -> None:
    """Copy the adapter as PEFT loads it, its base named as others can find it, with tokenizer and chat template."""
    shutil.copy2(run.model_dir / "adapter_model.safetensors", directory)
    base = subject.origin.hub_id or subject.origin.name
    write_json(directory / "adapter_config.json", {**_read_json(run.model_dir / "adapter_config.json"), "base_model_name_or_path": base})
    generation_config(subject.opened.renderer).save_pretrained(directory)
    write_tokenizer(subject, directory)


def generation_config(renderer: Renderer) -> GenerationConfig:
    """Greedy, stopping where we stop; the token that ends an answer comes first."""
    tokenizer = renderer.tokenizer
    stop_ids = [renderer.end_of_turn_id, *sorted(renderer.stop_ids - {renderer.end_of_turn_id})]
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop_ids[0]
    return GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=stop_ids, pad_token_id=pad_id, do_sample=False)


def write_tokenizer(subject: Subject, directory: Path) -> None:
    """The tokenizer with the run's template as its chat template; a model of raw text keeps the one it had."""
    tokenizer, before = subject.opened.renderer.tokenizer, subject.opened.renderer.tokenizer.chat_template
    try:
        if not subject.opened.trained_on_text:
            tokenizer.chat_template = jinja_template(subject.opened.renderer)
        tokenizer.save_pretrained(directory)
    finally:
        tokenizer.chat_template = before
    file = directory / "tokenizer_config.json"
    traces = ("is_local", "local_files_only", "name_or_path")
    write_json(file, {name: value for name, value in _read_json(file).items() if name not in traces})


def _read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values
