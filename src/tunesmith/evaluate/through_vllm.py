"""Evaluation's answers from vLLM: one server for base and adapter, or one after the other where all weights were trained.

Log-probabilities stay with our own engine: asked for those of a prompt with an adapter, vLLM 0.32.0 on processors ends altogether.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tunesmith.config import EvaluateConfig
from tunesmith.distributed.group import Group
from tunesmith.engine.loading import dtype_name
from tunesmith.engine.memory import give_back
from tunesmith.errors import ConfigError
from tunesmith.evaluate.answering import Answers, OnProgress, render_prompts
from tunesmith.render.chunks import Renderings
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel, base_directory
from tunesmith.types import Example
from tunesmith.vllm.answers import Reading, complete
from tunesmith.vllm.command import VllmModel, find_vllm, model_of_run
from tunesmith.vllm.server import Launch, running


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked, without the network that our own engine would ask."""

    prompts: Sequence[Sequence[int]]
    """Empty where our engine answers, or there is nothing to answer."""
    reading: Reading
    dtype: str
    device: str

    @classmethod
    def of(cls, opened: OpenedModel, rendered: Sequence[Renderings], config: EvaluateConfig) -> Questions:
        """By the model's own renderer: the tokens that our engine would be given."""
        examples = [renderings[0].example for renderings in rendered] if config.engine == "vllm" else []
        return cls(
            prompts=render_prompts(opened, examples, config),
            reading=Reading(stop_ids=opened.renderer.stop_ids, context_length=opened.loaded.context_length, parse=opened.renderer.parse),
            dtype=dtype_name(opened.loaded.dtype),
            device=opened.loaded.device.type,
        )


def vllm_models(run: RunDirectory, examples: Sequence[Example], group: Group) -> tuple[VllmModel, ...]:
    """The base and the tuned model for vLLM, before anything is loaded.

    Raises:
        ConfigError: vLLM is not installed, or cannot do this.
    """
    require_vllm(group)
    record = run.record()
    for is_so, found in (
        (examples[0].text is not None, "raw text, of which there is a loss and nothing to answer"),
        (record["config"].get("new_tokens"), "a run with new tokens, whose base vLLM cannot load"),
    ):
        if is_so:
            raise ConfigError("--engine vllm", found, expected="plain questions", remedy="use --engine tunesmith")
    tuned = model_of_run(run)
    base = VllmModel(name="base", base_dir=base_directory(record), base_name="base", is_quantized=tuned.is_quantized)
    base_name = "base" if tuned.adapter_dir else "tuned"
    return base, dataclasses.replace(tuned, name="tuned", base_name=base_name)


def require_vllm(group: Group) -> None:
    """Refuse a group, and a machine without vLLM.

    Raises:
        ConfigError: there are several processes, or vLLM is not installed.
    """
    if group.size > 1:
        raise ConfigError(
            "--engine vllm",
            f"{group.size} processes",
            expected="one: vLLM spreads its work by itself",
            remedy="leave --processes out; --vllm-options '--tensor-parallel-size N' takes N GPUs",
        )
    find_vllm()


def answered_by_vllm(
    run: RunDirectory,
    models: Sequence[VllmModel],
    questions: Questions,
    answers: Mapping[str, Answers],
    config: EvaluateConfig,
    say: Callable[[str], None],
    on_progress: OnProgress | None,
) -> tuple[dict[str, Answers], str]:
    """The answers with vLLM's completions, and who that is: `vLLM 0.32.0`.

    Args:
        models: base and tuned, of `vllm_models`.
        answers: of our engine, losses alone.
    """
    make_room()
    longest = max(map(len, questions.prompts)) + config.generation.max_new_tokens
    launch = Launch(
        log=run.evaluation_vllm_log_file.resolve(),
        dtype=questions.dtype,
        max_length=min(questions.reading.context_length, longest),
        options=config.vllm_options,
    )
    found, version = dict(answers), ""
    for served in servers_of(models):
        with running(served, launch, say) as server:
            for model in served:
                tell = _progress(on_progress, f"{model.name}: answers", len(questions.prompts))
                completions = complete(server, model.name, questions.prompts, config.generation, questions.reading, tell)
                found[model.name] = dataclasses.replace(answers[model.name], completions=completions)
            version = server.version
    return found, f"vLLM {version}"


def servers_of(models: Sequence[VllmModel]) -> list[list[VllmModel]]:
    """Those of one base together, in a server."""
    together: dict[Path, list[VllmModel]] = {}
    for model in models:
        together.setdefault(model.base_dir, []).append(model)
    return list(together.values())


def make_room() -> None:
    """Give back what our engine has used: vLLM takes most of what is free."""
    gc.collect()
    give_back()
    torch.cuda.empty_cache()


def _progress(on_progress: OnProgress | None, stage: str, total: int) -> Callable[[int], None] | None:
    return (lambda done: on_progress(stage, done, total)) if on_progress else None
