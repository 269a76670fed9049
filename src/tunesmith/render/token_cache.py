"""Tokens that passed the preflight, kept for the next run over the same examples.

~/.cache/tunesmith/tokens/3f0c…/     named by what the tokens depend on:
  0-token_ids.bin 0-supervised.bin …   the examples' content, template and tokenizer (the renderer's fingerprint), the limits,
  manifest.json                        and the code of this room: whatever changes, the name changes, so nothing stale is served

The arrays are mapped, not read: a second run starts at once, and a million examples take no memory until they are used. Files are
verified by checksum before they are trusted; a damaged entry is rendered anew.

Ranks of a group write parts, `.3f0c….ranks-…/00003/`, of which the first makes the entry that one process would have written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunesmith.errors import AssetError, TunesmithError
from tunesmith.files import atomic_directory, file_sha256, write_json
from tunesmith.render.chunks import Limits
from tunesmith.render.rendered import TokenArrays
from tunesmith.render.renderer import Renderer

MANIFEST = "manifest.json"
ENTRIES_KEPT = 20
"""The most recently used ones stay; a thousand examples take about half a megabyte."""
BEGUN_KEPT_SECONDS = 86_400
"""After it was last written to; a group or process that is at work writes all the time."""
COPIED_AT_ONCE = 2**23
TYPES: Mapping[str, type[np.generic]] = {
    "token_ids": np.int32,
    "supervised": np.bool_,
    "starts": np.int64,
    "example": np.int64,
    "num_cut_tokens": np.int64,
    "window": np.int64,
    "num_windows": np.int64,
}
"""What each array of `TokenArrays` is stored as, little-endian."""

Sides = tuple[TokenArrays, ...]


class CachedTokens(NamedTuple):
    """A whole entry."""

    sides: Sides
    notes: Mapping[str, Any]


class TokenCache:
    """The entries of one split of one data set."""

    def __init__(self, folder: Path, content: str) -> None:
        """`content`: equal exactly for equal examples in the same order, such as the checksum of their file."""
        self._folder = folder
        self._content = content

    def depends_on(self, renderer: Renderer, limits: Limits) -> Mapping[str, str]:
        """What an entry is named by, each in words for people."""
        return {
            "the examples": self._content,
            "the template and tokenizer": renderer.fingerprint,
            "the limits of length": f"{limits.max_length} {limits.over_length}",
            "the versions of tunesmith": code_of_this_room(),
        }

    def find(self, renderer: Renderer, limits: Limits) -> CachedTokens | None:
        """The tokens as an earlier run left them; None when there are none. What is damaged is cleared away."""
        entry = self._entry(renderer, limits)
        if not entry.exists():
            return None
        try:
            manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
            is_whole = all(file_sha256(entry / name) == sha256 for name, sha256 in manifest["files"].items())
        except (OSError, ValueError):
            is_whole = False
        if not is_whole:
            shutil.rmtree(entry)
            return None
        (entry / MANIFEST).touch()  # used just now
        return CachedTokens(_mapped(entry, manifest["num_sides"]), manifest["notes"])

    def open(self, renderer: Renderer, limits: Limits) -> CachedTokens:
        """An entry that is known to be there and whole.

        Raises:
            AssetError: this process does not see it.
        """
        entry = self._entry(renderer, limits)
        try:
            manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        except OSError:
            raise self._unseen() from None
        return CachedTokens(_mapped(entry, manifest["num_sides"]), manifest["notes"])

    def keep(self, renderer: Renderer, limits: Limits, chunks: Iterable[Sides], notes: Callable[[], Mapping[str, Any]]) -> CachedTokens:
        """Write the chunks as they come, then `notes()`; all or nothing. Returns the whole, mapped.

        Raises:
            AssetError: the cache cannot be written.
        """
        return self._keep(renderer, limits, lambda staging: _write(staging, chunks), notes)

    def begin_parts(self, renderer: Renderer, limits: Limits) -> Path:
        """A new folder for the parts of an entry.

        Raises:
            AssetError: the cache cannot be written.
        """
        entry = self._entry(renderer, limits)
        folder = entry.with_name(f".{entry.name}.ranks-{uuid.uuid4().hex[:12]}")
        with self._writing():
            folder.mkdir(parents=True)
        return folder

    def keep_part(self, folder: Path, rank: int, chunks: Iterable[Sides]) -> None:
        """One rank's chunks, whose examples are numbered through those of all ranks.

        Raises:
            AssetError: the cache cannot be written, or this rank does not see the folder.
        """
        if not folder.is_dir():
            raise self._unseen()
        with self._writing(), atomic_directory(folder / f"{rank:05}") as staging:
            _write(staging, chunks)

    def keep_joined(self, renderer: Renderer, limits: Limits, folder: Path, notes: Callable[[], Mapping[str, Any]]) -> CachedTokens:
        """As `keep`, of the parts in `folder`.

        Raises:
            AssetError: the cache cannot be written.
        """
        return self._keep(renderer, limits, lambda staging: _join(staging, sorted(folder.iterdir())), notes)

    def _unseen(self) -> AssetError:
        return AssetError(
            str(self._folder),
            f"the token cache on {platform.node()} does not hold what the first rank put there",
            expected="a folder that all machines of the group share",
            remedy="set TUNESMITH_CACHE to one",
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, TunesmithError):
                raise
            raise AssetError(
                str(self._folder),
                f"the token cache cannot be written ({error.strerror})",
                expected="a folder with room that can be written",
                remedy="free some space, or set TUNESMITH_CACHE to another folder",
            ) from error

    def _keep(
        self, renderer: Renderer, limits: Limits, write: Callable[[Path], int], notes: Callable[[], Mapping[str, Any]]
    ) -> CachedTokens:
        entry = self._entry(renderer, limits)
        try:
            with self._writing(), atomic_directory(entry) as staging:
                num_sides = write(staging)
                files = {file.name: file_sha256(file) for file in sorted(staging.iterdir())}
                write_json(staging / MANIFEST, {"num_sides": num_sides, "files": files, "notes": dict(notes())})
        except AssetError:
            if (found := self.find(renderer, limits)) is not None:  # by another run, at the same time
                return found
            raise
        self._forget_old()
        return CachedTokens(_mapped(entry, num_sides), notes())

    def _entry(self, renderer: Renderer, limits: Limits) -> Path:
        depends_on = self.depends_on(renderer, limits).values()
        return self._folder / hashlib.sha256("\0".join(depends_on).encode()).hexdigest()[:32]

    def _forget_old(self) -> None:
        entries = sorted(self._folder.glob(f"*/{MANIFEST}"), key=lambda file: file.stat().st_mtime, reverse=True)
        for manifest in entries[ENTRIES_KEPT:]:
            shutil.rmtree(manifest.parent, ignore_errors=True)
        for begun in (*self._folder.glob(".*.ranks-*"), *self._folder.glob(".*.partial-*")):  # by those who were killed
            with suppress(FileNotFoundError):  # those who are at it have just removed or renamed it
                last_written = max(path.stat().st_mtime for path in (begun, *begun.rglob("*")))
                if time.time() - last_written > BEGUN_KEPT_SECONDS:
                    shutil.rmtree(begun, ignore_errors=True)


@cache
def code_of_this_room() -> str:
    """A digest: tokens rendered or checked by other code are other tokens."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _write(folder: Path, chunks: Iterable[Sides]) -> int:
    """Append every chunk to the arrays' files; returns how many sides there are."""
    ends: list[int] = []
    for sides in chunks:
        ends = ends or [0] * len(sides)
        for number, side in enumerate(sides):
            shifted = dataclasses.replace(side, starts=side.starts[:-1] + ends[number])
            ends[number] += len(side.token_ids)
            for name, kind in TYPES.items():
                with _file(folder, number, name).open("ab") as file:
                    file.write(np.ascontiguousarray(getattr(shifted, name), dtype=kind).tobytes())
    for number, end in enumerate(ends):
        with _file(folder, number, "starts").open("ab") as file:
            file.write(np.int64(end).tobytes())
    return len(ends)


def _join(folder: Path, parts: Sequence[Path]) -> int:
    """What `_write` would have made of all parts' chunks, one part after another; returns how many sides there are."""
    filled = [part for part in parts if _file(part, 0, "starts").exists()]  # a rank may have had no example
    num_sides = max((number + 1 for part in filled for number in (0, 1) if _file(part, number, "starts").exists()), default=0)
    for number in range(num_sides):
        end = 0
        for part in filled:
            for name in TYPES.keys() - {"starts"}:
                with _file(folder, number, name).open("ab") as whole, _file(part, number, name).open("rb") as piece:
                    shutil.copyfileobj(piece, whole, COPIED_AT_ONCE)
            starts = np.fromfile(_file(part, number, "starts"), np.int64) + end
            end = int(starts[-1])
            with _file(folder, number, "starts").open("ab") as file:
                file.write(starts[: -1 if part is not filled[-1] else None].tobytes())
    return num_sides


def _mapped(folder: Path, num_sides: int) -> Sides:
    return tuple(
        TokenArrays(**{name: np.memmap(_file(folder, number, name), dtype=kind, mode="r") for name, kind in TYPES.items()})
        for number in range(num_sides)
    )


def _file(folder: Path, side: int, name: str) -> Path:
    return folder / f"{side}-{name}.bin"


def kept_in_memory(chunks: Iterable[Sides], notes: Callable[[], Mapping[str, Any]]) -> CachedTokens:
    """The same without files."""
    parts: Sequence[Sides] = list(chunks)
    return CachedTokens(tuple(TokenArrays.joined(side) for side in zip(*parts, strict=True)), notes())
