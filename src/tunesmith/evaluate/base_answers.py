"""Asking a run's base model, or taking what it answered when it was asked the same before.

The base model's answers have nothing to do with what was trained: runs of one base model that are evaluated on the same examples
with the same settings have them in common, to the last bit. `base_identity` names all they depend on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tunesmith.config import EvaluateConfig
from tunesmith.engine.kernels.native import kind_of_kernels
from tunesmith.engine.loading import dtype_name
from tunesmith.evaluate.answering import Answers
from tunesmith.files import file_sha256
from tunesmith.render.chunks import Renderings
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel

KeepBase = Callable[[Mapping[str, Any], Callable[[], Answers]], Answers]
"""(all that the answers depend on, how to have them made) -> answers made now, or earlier where everything was the same."""


def base_identity(run: RunDirectory, tuned: OpenedModel, rendered: Sequence[Renderings], config: EvaluateConfig) -> dict[str, Any]:
    """All that the answers of the run's base model depend on, so that equal identities have equal answers; for JSON.

    Threads, kernels and device are in it as sums of floats depend on them in their last bits, and so does an adapter that is switched off.
    """
    record = run.record()
    return {
        "weights": record["model"]["weights"],
        "architecture": file_sha256(Path(record["model"]["directory"]) / "config.json"),
        "four_bits": record["config"]["method"] == "qlora",
        "new_tokens": list(record["config"]["new_tokens"]),
        "under_adapter": tuned.network is not tuned.loaded.network,
        "renderer": tuned.renderer.fingerprint,
        "continues_text": tuned.trained_on_text,
        "examples": _digest(rendered),
        "num_examples": len(rendered),
        "generation": config.generation.model_dump(mode="json"),
        "losses_alone": config.engine != "tunesmith",
        "dtype": dtype_name(tuned.loaded.dtype),
        "device": _device(tuned.loaded.device),
        "threads": torch.get_num_threads(),
        "kernels": kind_of_kernels(),
        "versions": {name: metadata.version(name) for name in ("tunesmith", "torch", "transformers", "peft")},
    }


def _device(device: torch.device) -> str:
    """Kinds of one device compute in another order."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def _digest(rendered: Sequence[Renderings]) -> str:
    """Of the examples' contents and tokens; where the examples came from does not count."""
    digest = hashlib.sha256()
    for renderings in rendered:
        example = renderings[0].example
        prompt = [dataclasses.asdict(message) for message in example.prompt_messages]
        tokens = [[one.token_ids, [place for place, supervised in enumerate(one.supervised) if supervised]] for one in renderings]
        digest.update(json.dumps([prompt, dict(example.fields), example.reference, tokens]).encode())
    return digest.hexdigest()
