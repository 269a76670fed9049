"""The configuration of a model without its weights: what can be said of a model that is not here.

>>> find_config("llama-3.1-70b/config.json")
PosixPath('llama-3.1-70b/config.json')
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tunesmith.assets.cache import Say
from tunesmith.assets.catalog import NAMED_MODELS
from tunesmith.assets.hub import is_hub_id
from tunesmith.assets.resolve import resolve_model
from tunesmith.errors import AssetError, first_line

CONFIG_FILE = "config.json"


def fetch_config(hub_id: str) -> Path:
    """A hub model's configuration, a few kilobytes; from the cache where the hub cannot be reached.

    Raises:
        AssetError: neither has it.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub_id, CONFIG_FILE))
    except Exception as error:  # it raises its own errors and those of whichever HTTP client it uses
        raise AssetError(
            hub_id,
            f"there is no such folder here, and the hub did not give its {CONFIG_FILE} ({type(error).__name__}: {first_line(error)})",
            expected="a config.json, a folder with one, a named model, or a model on the hub that this user may read",
            remedy="check the name, accept the model's terms on its page, or log in with `hf auth login`",
        ) from error


def find_config(reference: str, *, fetch: Callable[[str], Path] = fetch_config, on_progress: Say | None = None) -> Path:
    """The `config.json` of what the user names: a file, a folder with one, a named model (which is fetched whole), a hub id.

    Raises:
        AssetError: there is none.
    """
    path = Path(reference).expanduser()
    if reference in NAMED_MODELS:
        return resolve_model(reference, on_progress=on_progress).directory / CONFIG_FILE
    if path.is_file() and path.suffix.lower() == ".json":
        return path
    if reference and path.is_dir():
        file = path / CONFIG_FILE
        if not file.is_file():
            raise AssetError(
                reference,
                f"it holds no {CONFIG_FILE}",
                expected="a model's folder",
                remedy=f"name the folder with the model's {CONFIG_FILE}",
            )
        return file
    if is_hub_id(reference) and not path.exists():
        return fetch(reference)
    raise AssetError(
        repr(reference),
        "it is no configuration, no folder and no model known by name",
        expected="a config.json, a folder with one, a named model, or a hub id such as owner/name",
        remedy="check the spelling; `tunesmith models` lists the names",
    )
