"""Handing over to vLLM: the command that serves the same models with our template and stop tokens.

vLLM has one chat template for all models of a server and renders text, so what a user wrote that looks like a special token
becomes one there; our own server keeps it text. Prompts without such strings are the same, token for token.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tunesmith.config import ServeConfig
from tunesmith.errors import ConfigError
from tunesmith.files import write_json, write_text
from tunesmith.render.renderer import Renderer
from tunesmith.serve.gate import is_loopback
from tunesmith.vllm.chat_template import chat_template
from tunesmith.vllm.command import KEY_VARIABLE, QUIET, VllmModel, find_vllm, serve_command, vllm_model


def vllm_command(config: ServeConfig, *, directory: Path | None = None, say: Callable[[str], None] | None = None) -> list[str]:
    """The command line. Chat template and generation settings are written into `directory` (None: a new temporary one).

    Raises:
        ConfigError: vLLM cannot serve these models in one process, or cannot serve one of them at all.
    """
    if config.guardrails is not None:
        remedy = "leave --guardrails out, or use --engine tunesmith"
        raise ConfigError("--guardrails", "vLLM knows none of our rules", expected="our own engine", remedy=remedy)
    pairs = [vllm_model(reference, say) for reference in config.models]
    _require_alike(pairs)
    folder = directory or Path(tempfile.mkdtemp(prefix="tunesmith-vllm-"))
    renderer = pairs[0][1]
    extra = ["--chat-template", str(folder / "chat_template.jinja"), "--generation-config", str(folder)]
    models = [model for model, _ in pairs]
    command = serve_command(models, host=config.host, port=config.port, dtype=config.dtype, extra=extra, options=config.vllm_options)
    write_text(folder / "chat_template.jinja", chat_template(renderer))
    write_json(folder / "generation_config.json", {"eos_token_id": sorted(renderer.stop_ids), "temperature": config.temperature})
    return command


def hand_over(command: Sequence[str], config: ServeConfig) -> None:
    """Become vLLM. Never returns.

    Raises:
        ConfigError: vLLM is missing, or a public address has no key.
    """
    program = find_vllm()
    if not is_loopback(config.host) and not os.environ.get(KEY_VARIABLE):
        raise ConfigError(
            f"--host {config.host}",
            f"other machines can reach this address, and {KEY_VARIABLE} is not set",
            expected=f"a loopback address, or a key in {KEY_VARIABLE}: vLLM keeps no hashes",
            remedy=f"set {KEY_VARIABLE}",
        )
    os.execvpe(program, list(command), {**QUIET, **os.environ})  # noqa: S606 - no shell on purpose


def _require_alike(pairs: Sequence[tuple[VllmModel, Renderer]]) -> None:
    """One base, one template: a vLLM server has no more."""
    first, renderer = pairs[0]
    for model, own in pairs[1:]:
        if (model.base_dir, model.is_quantized) != (first.base_dir, first.is_quantized):
            found, expected = f"{model.name} has another base model than {first.name}", "models of one base"
        elif chat_template(own) != chat_template(renderer) or own.stop_ids != renderer.stop_ids:
            found, expected = f"{model.name} has another template or other stop tokens than {first.name}", "one template for all"
        else:
            continue
        raise ConfigError("--engine vllm", found, expected=expected, remedy="start a server for each, or use --engine tunesmith")
