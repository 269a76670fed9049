"""What is exported: a run's tuned model or any other model, opened in float32, with what is known of where it came from.

>>> subject = open_subject("runs/faq", device="auto")
>>> subject.opened.complete(...)          # the reference that an export is compared with
>>> network = subject.merged()            # one plain network; the adapter is folded in
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import peft
import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from tunesmith import assets
from tunesmith.assets.hub import is_hub_id
from tunesmith.config import ADAPTER_METHODS
from tunesmith.engine.merging import merge
from tunesmith.errors import AssetError, first_line
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.tuned import OpenedModel, base_directory, open_model, open_tuned

Say = Callable[[str], None]
Dtype = Literal["float32", "bfloat16", "float16"]

DTYPES: dict[str, Dtype] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Of safetensors, as the settings call them."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The base model, for cards and metadata."""

    name: str
    licence: str
    """`unknown` where the model does not say."""
    hub_id: str | None
    """None where the model is no hub's."""
    source: str
    """In words, without a path of this machine."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is about to be exported."""

    name: str
    opened: OpenedModel
    """In float32, an adapter beside the base; of `qlora` the base is in four bits, as it was trained on."""
    run: RunDirectory | None
    origin: Origin
    base_dtype: Dtype
    """Of the base's weights on disk."""

    @property
    def has_adapter(self) -> bool:
        return isinstance(self.opened.network, peft.PeftModel)

    def merged(self) -> PreTrainedModel:
        """Fold the adapter in, in place, and show that the logits stayed the same; `opened` must not be used after it.

        Raises:
            AssetError: the merged network computes something else.
        """
        network = self.opened.network
        return merge(network) if isinstance(network, peft.PeftModel) else network


def open_subject(reference: str | Path, *, device: str, say: Say) -> Subject:
    """Open a run or a model for export.

    Raises:
        AssetError: there is no such model, or its weights are pickled, which would run code when loaded.
        RunError: the run has not finished, or its renderer changed.
    """
    if is_run(reference):
        run = open_run(Path(reference))
        run.manifest()  # unfinished runs are refused before anything is looked at
        require_safetensors(run.model_dir)
        directory = base_directory(run.record())
        require_safetensors(directory)
        opened = open_tuned(run, dtype="float32", device=device)
        return Subject(name=run.name, opened=opened, run=run, origin=_origin_of_run(run), base_dtype=stored_dtype(directory))
    resolved = assets.resolve_model(str(reference), on_progress=say)
    require_safetensors(resolved.directory)
    opened = open_model(reference, dtype="float32", device=device, say=say)
    origin = Origin(
        name=resolved.name,
        licence=resolved.licence,
        hub_id=_hub_id(str(reference), resolved.origin),
        source=_without_paths(resolved.origin),
    )
    return Subject(name=resolved.name, opened=opened, run=None, origin=origin, base_dtype=stored_dtype(resolved.directory))


def is_adapter_run(run: RunDirectory) -> bool:
    """Whether the run's result is an adapter beside the base."""
    return run.manifest()["method"] in ADAPTER_METHODS


def require_safetensors(directory: Path) -> None:
    """Refuse a folder whose weights are not safetensors through and through; nothing of it is loaded.

    Raises:
        AssetError: there are none, or a file of this name is something else (a pickle, a torn download).
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickled = next((file.name for suffix in ("bin", "pt", "pth", "pkl") for file in directory.glob(f"*.{suffix}")), None)
        found = f"its weights are pickled ({pickled}), which can run code when loaded" if pickled else "it holds no *.safetensors"
        raise _unsafe(directory, found)
    for file in files:
        try:
            with safe_open(file, framework="pt") as content:
                content.keys()
        except (SafetensorError, OSError) as error:
            raise _unsafe(file, f"it is called safetensors and is not ({first_line(error)})") from None


def _unsafe(place: Path, found: str) -> AssetError:
    remedy = "restore the file from where it came from; tunesmith never loads pickled weights"
    return AssetError(str(place), found, expected="weights in safetensors", remedy=remedy)


def stored_dtype(directory: Path) -> Dtype:
    """The type of most of a folder's weights; float32 where it is none that an export can have."""
    counts: Counter[str] = Counter()
    for file in directory.glob("*.safetensors"):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        for name, about in header.items():
            if name != "__metadata__":
                counts[about["dtype"]] += about["data_offsets"][1] - about["data_offsets"][0]
    return DTYPES.get(counts.most_common(1)[0][0], "float32")


def torch_dtype(name: str) -> torch.dtype:
    """From the settings' name."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _origin_of_run(run: RunDirectory) -> Origin:
    model: dict[str, Any] = run.record()["model"]
    origin = str(model.get("origin", ""))
    return Origin(
        name=str(model.get("name") or Path(str(model["reference"])).name),
        licence=str(model.get("licence", "unknown")),
        hub_id=None if run.record().get("parent") else _hub_id(str(model["reference"]), origin),
        source=_without_paths(origin),
    )


def _hub_id(reference: str, origin: str) -> str | None:
    """Where the model is on the hub, if it is known there: `models/mine` may be a folder's name, and the folder gone."""
    named = assets.NAMED_MODELS.get(reference)
    if named:
        return named.hub_id
    return reference if is_hub_id(reference) and origin.startswith("Hugging Face hub ") else None


def _without_paths(origin: str) -> str:
    """A card is read by others, and `local folder /home/ann/my models/m` says more about a machine than about a model."""
    return re.sub(r"^(?:local (folder)|(?=/)).*?(?=, dequantised|$)", lambda found: f"a local {found[1] or 'file'}", origin)
