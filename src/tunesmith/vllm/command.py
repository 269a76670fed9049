"""vLLM's command line for models of ours on one base.

vllm serve …/smollm2-135m-instruct --served-model-name smollm2-135m-instruct --enable-lora --lora-modules faq=runs/faq/model …
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith import assets
from tunesmith.config import ADAPTER_METHODS
from tunesmith.distributed.environment import outside_groups
from tunesmith.engine.loading import load_tokenizer
from tunesmith.errors import ConfigError
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.tuned import base_directory, stored_renderer

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as `--max-lora-rank`."""
KEY_VARIABLE = "VLLM_API_KEY"
QUIET = {"VLLM_NO_USAGE_STATS": "1"}
"""Variables for vLLM: it would send its maker what runs where."""


@dataclass(frozen=True, kw_only=True)
class VllmModel:
    """One model to serve: a folder of weights, perhaps with an adapter."""

    name: str
    base_dir: Path
    base_name: str
    adapter_dir: Path | None = None
    rank: int = 0
    is_quantized: bool = False


def find_vllm() -> str:
    """The program, in whatever environment it lives.

    Raises:
        ConfigError: there is none.
    """
    if program := shutil.which("vllm"):
        return program
    raise ConfigError(
        "--engine vllm",
        "vLLM is not installed: there is no program `vllm` on PATH",
        expected="vLLM, in this environment or in one of its own",
        remedy="install it with `pip install vllm`, best in an environment of its own, and put its folder bin on PATH",
    )


def serve_command(
    models: Sequence[VllmModel], *, host: str, port: int, dtype: str, extra: Sequence[str] = (), options: str = ""
) -> list[str]:
    """The words that serve these models, which have one base.

    Args:
        extra: words of ours that not every use needs.
        options: the user's own, as a shell would read them; they come last, and win.

    Raises:
        ConfigError: two models have one name, or the options cannot be read.
    """
    _refuse_equal_names(models)
    first = models[0]
    command = ["vllm", "serve", str(first.base_dir), "--served-model-name", *_base_names(models)]
    command += ["--host", host, "--port", str(port), "--dtype", dtype, *extra]
    if first.is_quantized:
        command += ["--quantization", "bitsandbytes"]
    if adapters := [model for model in models if model.adapter_dir is not None]:
        rank = max(model.rank for model in adapters)
        command += ["--enable-lora", "--max-loras", str(len(adapters)), "--max-lora-rank", str(_taken_rank(rank))]
        command += ["--lora-modules", *(f"{model.name}={model.adapter_dir}" for model in adapters)]
    try:
        return [*command, *shlex.split(options)]
    except ValueError as error:
        raise ConfigError(
            "--vllm-options", f"{options!r} ({error})", expected="words as a shell takes them", remedy="close the quotes"
        ) from None


def vllm_model(reference: str, say: Callable[[str], None] | None) -> tuple[VllmModel, Renderer]:
    """What a reference (a run, a named model, a folder, a hub id) is for vLLM, and how it is to be asked.

    Raises:
        ConfigError: vLLM cannot load it.
    """
    if is_run(reference):
        run = open_run(Path(reference))
        model = model_of_run(run)
        return model, stored_renderer(run, load_tokenizer(model.base_dir))
    resolved = assets.resolve_model(reference, on_progress=say)
    renderer = Renderer.for_model(load_tokenizer(resolved.directory), "auto", _own_stop_ids(resolved.directory))
    return VllmModel(name=resolved.name, base_dir=resolved.directory, base_name=resolved.name), renderer


def model_of_run(run: RunDirectory) -> VllmModel:
    """The tuned model of a run.

    Raises:
        ConfigError: its adapter is of a kind that vLLM cannot load.
    """
    manifest, record = run.manifest(), run.record()
    if manifest["method"] not in ADAPTER_METHODS:
        return VllmModel(name=run.name, base_dir=run.model_dir.resolve(), base_name=run.name)
    _require_plain_lora(run, record)
    return VllmModel(
        name=run.name,
        base_dir=base_directory(record),
        base_name=str(record["model"]["name"]),
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


def _require_plain_lora(run: RunDirectory, record: Mapping[str, Any]) -> None:
    settings = _adapter_settings(run)
    for is_so, what in (
        (settings.get("use_dora"), "DoRA"),
        (record["config"].get("new_tokens"), "new tokens"),
        (settings["r"] > LORA_RANKS[-1], f"a rank of {settings['r']}"),
    ):
        if is_so:
            raise ConfigError(
                str(run.path),
                f"it was trained with {what}, which vLLM's adapters cannot have",
                expected=f"plain LoRA up to rank {LORA_RANKS[-1]}",
                remedy="use --engine tunesmith, or export it merged and serve that",
            )


def _base_names(models: Sequence[VllmModel]) -> list[str]:
    """What the one base is called by any of them."""
    return list(dict.fromkeys(model.base_name for model in models))


def _refuse_equal_names(models: Sequence[VllmModel]) -> None:
    """An adapter called like its base would never be asked: the base answers to the name first."""
    names = [*_base_names(models), *(model.name for model in models if model.adapter_dir is not None)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            "--engine vllm", f"two models are called {twice!r}", expected="a name for each", remedy="leave one out, or rename its directory"
        )


def _taken_rank(rank: int) -> int:
    return next(one for one in LORA_RANKS if one >= rank)


def environment(key: str) -> dict[str, str]:
    """Of a vLLM process that asks for this key."""
    return {**QUIET, **outside_groups(os.environ), KEY_VARIABLE: key}
