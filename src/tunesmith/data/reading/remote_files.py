"""A URL -> the files it means: one file, all of a folder, or those a pattern matches, in the order of their paths.

    >>> [label for label, _ in list_remote("s3://bucket/faq/part-*.jsonl.gz").files]
    ['part-00000.jsonl.gz', 'part-00001.jsonl.gz']

The network is touched because the user named it, and by fsspec's own packages for each kind of place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, unquote_plus

from tunesmith.data.parsing.archives import is_clutter
from tunesmith.data.parsing.remote import STORES, RemoteFile, names_user, presentable, unreachable
from tunesmith.data.parsing.text import printable
from tunesmith.data.reading.splits import below_pattern
from tunesmith.errors import AssetError, DataError

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_SIGNED = re.compile(r"sig|token|key|secret|pass|cred|auth|expires", re.IGNORECASE)
"""Names of parameters of a web address that let in whoever has their values."""
_VERSIONS = ("ETag", "etag", "generation", "xet_hash", "blob_id", "LastModified", "last_modified", "mtime", "updated", "created")
"""What stores call that which changes with a file."""


class Listing(NamedTuple):
    """What a URL means."""

    label: str
    """The last part of the URL."""
    files: Sequence[tuple[str, RemoteFile]]
    """Each with its path inside the folder, or in what a pattern leaves open."""
    kind: Literal["file", "folder", "pattern"]


def is_url(source: str) -> bool:
    """Whether it names a place by a scheme (`s3://…`)."""
    return _URL.match(source) is not None


def local_path(source: str) -> str:
    """`file:///data/faq.jsonl` -> `/data/faq.jsonl`; anything else as it is."""
    return unquote(source[len("file://") :]) if source.lower().startswith("file://") else source


def hub_root(source: str) -> str | None:
    """`owner/name` of `hf://datasets/owner/name`: a whole data set of the hub, whose card says what belongs together."""
    found = re.fullmatch(r"(?i:hf)://datasets/([^/@]+/[^/@*?\[]+)/?", source)
    return found[1] if found else None


def list_remote(source: str) -> Listing:
    """Ask the store what there is.

    Raises:
        DataError: the URL is of an unknown kind, carries credentials, or nothing is there.
        AssetError: a package is missing, access is refused, or the store cannot be reached.
    """
    _require_harmless(source)
    files, path = _file_system(source)
    label = printable(PurePosixPath(path).name or source)
    try:
        if files.protocol not in ("http", ("http", "https")) and re.search(r"[*?\[]", path):
            found = files.glob(path, detail=True)
            wanted = [one for one in _regular(files, found) if "/." in path or not is_clutter(one.name)]
            return Listing(label, [(below_pattern(one.path, path), one) for one in wanted], "pattern")
        about = files.info(path)
        if about["type"] == "directory":
            base = path.rstrip("/") + "/"
            inside = [(one.path.removeprefix(base), one) for one in _regular(files, files.find(path, detail=True))]
            return Listing(label, [(name, one) for name, one in inside if not is_clutter(name)], "folder")
    except Exception as error:  # noqa: BLE001 - every store has exceptions of its own
        raise unreachable(printable(source), error) from None
    one = _remote(files, path, about)
    return Listing(one.name, [(one.name, one)], "file")


def refreshed(file: RemoteFile) -> RemoteFile:
    """The file as the store has it now.

    Raises:
        DataError, AssetError: as `list_remote`.
    """
    try:
        file.files.invalidate_cache()
        return _remote(file.files, file.path, file.files.info(file.path))
    except Exception as error:  # noqa: BLE001 - every store has exceptions of its own
        raise unreachable(file.url, error) from None


def _require_harmless(source: str) -> None:
    """Refuse what would be written down with the source: a password, a signature."""
    scheme, place = source.partition("://")[0].lower(), printable(presentable(source))
    if "::" in source or scheme not in STORES:
        found = "URLs in URLs are not read" if "::" in source else f"places of the kind {scheme}:// are not read"
        known = ", ".join(f"{name}://" for name in ("file", *STORES))
        raise DataError(place, found, expected=f"one of {known}", remedy="download the files and give their folder")
    signed = scheme in ("http", "https") and any(_SIGNED.search(name) for name in _parameter_names(source.partition("?")[2]))
    if signed or names_user(source):
        raise DataError(
            place,
            "the URL carries credentials, and what is read is written down in records",
            expected="a URL without them",
            remedy=STORES[scheme].log_in,
        )


def _parameter_names(query: str) -> list[str]:
    """Of the parameters, and of those of a URL that is the value of one."""
    return [parameter.partition("=")[0] for parameter in re.split("[?&;]", unquote_plus(query))]


def _file_system(source: str) -> tuple[Any, str]:
    import fsspec  # type: ignore[import-untyped]

    scheme = source.partition("://")[0].lower()
    store = STORES[scheme]
    try:
        files, path = fsspec.core.url_to_fs(scheme + source[len(scheme) :])
    except ImportError:
        found = f"to read {scheme}:// the package {store.package} is needed, which is not installed"
        raise AssetError(printable(source), found, expected=store.package, remedy=store.install) from None
    except Exception as error:  # noqa: BLE001 - every store has exceptions of its own
        raise unreachable(printable(source), error) from None
    return files, path


def _regular(files: Any, found: Mapping[str, Mapping[str, Any]]) -> list[RemoteFile]:
    return [_remote(files, path, about) for path, about in sorted(found.items()) if about["type"] == "file"]


def _remote(files: Any, path: str, about: Mapping[str, Any]) -> RemoteFile:
    size = about.get("size")
    version = next((f"{name}={about[name]}" for name in _VERSIONS if about.get(name)), "")
    return RemoteFile(url=printable(files.unstrip_protocol(path)), path=path, files=files, size=size, version=f"{size} {version}".strip())
