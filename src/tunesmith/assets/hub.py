"""The Hugging Face hub, kept behind three questions so that tests can ask a fake instead."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tunesmith.errors import AssetError, first_line

CONNECT_TIMEOUT_SECONDS = 3.0

_WANTED = ["*.safetensors", "*.json", "*.model", "*.jinja", "*.txt", "README.md"]
"""What from_pretrained needs, never pickles; README.md names the licence."""
_UNWANTED = ["*/*", "consolidated*"]
"""Sub-folders (ONNX, training logs) and second copies of the weights in other layouts."""


class Hub(Protocol):
    """What tunesmith asks of a hub."""

    def cached(self, hub_id: str) -> Path | None:
        """The folder of an earlier, whole download, without touching the network."""

    def is_reachable(self) -> bool:
        """Whether a download is worth trying."""

    def download(self, hub_id: str) -> Path:
        """Fetch what is missing and return the folder; an AssetError with the cause otherwise."""


class HuggingFaceHub:
    """huggingface.co, or the mirror named by HF_ENDPOINT; respects HF_HUB_OFFLINE, HF_HOME and HF_TOKEN."""

    def cached(self, hub_id: str) -> Path | None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            found = snapshot_download(hub_id, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, local_files_only=True)
        except LocalEntryNotFoundError:
            return None
        return Path(found)

    def is_reachable(self) -> bool:
        return _hub_is_reachable()

    def download(self, hub_id: str) -> Path:
        from huggingface_hub import snapshot_download

        try:
            with _without_bars():
                found = snapshot_download(hub_id, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
        except Exception as error:  # it raises its own errors and those of whichever HTTP client it uses
            cause = first_line(error, otherwise="no reason given")
            raise AssetError(
                hub_id,
                f"there is no such folder here, and the hub did not give it ({type(error).__name__}: {cause})",
                expected="a folder, or a model on the hub that this user may read",
                remedy="check the name, accept the model's terms on its page, or log in with `hf auth login`",
            ) from error
        return Path(found)


@contextmanager
def _without_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            enable_progress_bars()


@functools.cache
def _hub_is_reachable() -> bool:
    """Asked once a process: a laptop without network pays the timeout once."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the user's own HF_ENDPOINT
    try:
        urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True  # it answered
    except OSError:
        return False
    return True


def is_hub_id(reference: str) -> bool:
    """Whether `reference` has the shape `owner/name`."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", reference) is not None
