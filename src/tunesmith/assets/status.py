"""What `tunesmith models` shows; reads a few small files, imports nothing heavy, asks no network."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.assets.cache import find_model
from tunesmith.assets.catalog import NAMED_MODELS, ModelKind
from tunesmith.assets.resolve import wheel_key
from tunesmith.assets.terms import terms_accepted
from tunesmith.errors import AssetError


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStatus:
    """A named model and what of it is here."""

    name: str
    hub_id: str
    kind: ModelKind
    licence: str
    num_parameters: int
    download_bytes: int
    """Of the wheels; the hub's full-precision files are larger."""
    disk_bytes: int | None
    """Of the converted model in tunesmith's cache; None when it is not there (it may be in the hub's own cache)."""
    origin: str | None
    """Of the cached model, in words."""
    problem: str | None
    """Why the cached model cannot be used; None when it can, or is not there."""
    terms_accepted: bool
    """True as well where nothing has to be accepted."""


def list_models() -> list[ModelStatus]:
    """The named models, in the catalog's order."""
    return [_status(name) for name in NAMED_MODELS]


def _status(name: str) -> ModelStatus:
    model, cached, problem = NAMED_MODELS[name], None, None
    try:
        cached = find_model(wheel_key(model))
    except AssetError as error:
        problem = str(error)
    return ModelStatus(
        name=name,
        hub_id=model.hub_id,
        kind=model.kind,
        licence=model.licence,
        num_parameters=model.num_parameters,
        download_bytes=model.download_bytes,
        disk_bytes=cached.num_bytes if cached else None,
        origin=cached.origin if cached else None,
        problem=problem,
        terms_accepted=terms_accepted(model),
    )
