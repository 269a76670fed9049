"""Writing files so that a crash never leaves half of one: temporary name, sync, rename.

write_json(path, {"schema_version": 1, ...})
with atomic_directory(run_dir / "checkpoints" / "step-000040") as staging:
    save_file(tensors, staging / "weights.safetensors")
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def sync_directory(path: Path) -> None:
    """Make renames inside `path` survive a power cut (POSIX; a no-op where directories cannot be opened)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open directories
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Hexadecimal; a gigabyte takes about a second."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` (UTF-8) at once or not at all."""
    staging = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with staging.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace `path` with `value` as indented JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_json_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace `path` with one JSON object a line."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_json_lines(path: Path, *, parse: Callable[[bytes], Any] = json.loads) -> list[dict[str, Any]]:
    """Read a file of ours. A torn last line, left by a crash while appending, is left out.

    Args:
        path: of the file.
        parse: of a line; for who has something faster.
    """
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()  # what follows the last newline: empty unless a write was cut short
    del torn
    return [parse(line) for line in lines]


def append_json_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add one JSON object a line, on the disk when this returns; a torn last line is cut off first. Several processes may append."""
    from filelock import FileLock  # here, so that a bare Python can ask what models there are

    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode("utf-8", "surrogatepass")
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        cut_torn_line(path)
        with path.open("ab") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
    sync_directory(path.parent)


def cut_torn_line(path: Path) -> None:
    """Make an append-only file end with its last whole line; an object that lacks its newline alone, as from an editor, is given it."""
    if not path.is_file():
        return
    with path.open("r+b") as handle:
        content = handle.read()
        whole = content.rfind(b"\n") + 1
        if whole == len(content):
            return
        if is_json_object(content[whole:]):
            handle.write(b"\n")
        else:
            handle.truncate(whole)
        handle.flush()
        os.fsync(handle.fileno())


def is_json_object(line: bytes) -> bool:
    """Whether this is a whole line of JSON Lines."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return False


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a staging directory that becomes `path` on success and vanishes on any failure.

    Raises:
        FileExistsError: `path` exists already; nothing is overwritten.
    """
    if path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.partial-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        for file in staging.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        sync_directory(staging)
        staging.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    sync_directory(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Clear away the staging files and directories that a killed process left in `directory`; nobody else may be writing there."""
    for leftover in directory.glob(".*.partial-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
