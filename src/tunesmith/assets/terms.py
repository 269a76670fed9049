"""Terms that have to be accepted before a model is fetched or used: shown, recorded, required."""

from __future__ import annotations

import json
import os
import time

from tunesmith.assets.cache import SCHEMA_VERSION, cache_dir, writing
from tunesmith.assets.catalog import NAMED_MODELS, NamedModel
from tunesmith.errors import AssetError
from tunesmith.files import write_json

ACCEPT_VARIABLE = "TUNESMITH_ACCEPT_TERMS"
"""Environment variable for unattended use: names of models, separated by commas."""


def terms_text(name: str) -> str:
    """A few lines to show before asking for acceptance; empty when the model has no such terms."""
    model = _named(name)
    if model.terms is None:
        return ""
    return (
        f"{model.name} ({model.hub_id}) is provided under and subject to the {model.terms.title}.\n"
        f"Read them at {model.terms.url}\n"
        f"Using the model, or a model tuned from it, is bound by these terms and by the Prohibited Use Policy:\n"
        f"{model.terms.policy_url}"
    )


def accept_terms(name: str) -> None:
    """Record in the cache that the user accepts the terms of `name`, as pinned in this version of tunesmith."""
    model = _named(name)
    if model.terms is None:
        return
    directory = cache_dir() / "terms"
    accepted = {"url": model.terms.url, "sha256": model.terms.sha256, "accepted": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / f"{name}.json", {"schema_version": SCHEMA_VERSION, "name": name, **accepted})


def terms_accepted(model: NamedModel) -> bool:
    """Whether nothing has to be accepted, or it was: in the cache, in this very wording, or by the environment."""
    if model.terms is None or model.name in os.environ.get(ACCEPT_VARIABLE, "").replace(",", " ").split():
        return True
    record = cache_dir() / "terms" / f"{model.name}.json"
    return record.is_file() and json.loads(record.read_text(encoding="utf-8"))["sha256"] == model.terms.sha256


def require_terms(model: NamedModel) -> None:
    """Raise an AssetError that says where to read the terms and how to accept them."""
    if model.terms is None or terms_accepted(model):
        return
    raise AssetError(
        model.name,
        f"the {model.terms.title} have not been accepted",
        expected=f"that you read {model.terms.url} and agree",
        remedy=f"run `tunesmith models accept {model.name}` (unattended: {ACCEPT_VARIABLE}={model.name})",
    )


def _named(name: str) -> NamedModel:
    if name not in NAMED_MODELS:
        known = ", ".join(NAMED_MODELS)
        raise AssetError(name, "there is no named model of this name", expected=f"one of {known}", remedy="correct the name")
    return NAMED_MODELS[name]
