"""A prepared directory: what `tunesmith prepare` writes and training reads.

    prepared/faq/
      train.jsonl        one example a line, as `example_to_record` writes it
      validation.jsonl
      test.jsonl
      report.json        what was read, kept and left out, for people
      manifest.json      sources, settings and fingerprints; written last

The fingerprints make sure that what is trained on is what was prepared: a split file edited by hand is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, RunError
from tunesmith.files import read_json_lines
from tunesmith.runs import RunDirectory
from tunesmith.types import Example, ExampleKind, Message

SCHEMA_VERSION = 1
"""Of prepared directories; a higher one was written by a newer tunesmith and is refused."""

SPLIT_NAMES = ("train", "validation", "test")
MANIFEST = "manifest.json"
REPORT = "report.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData:
    """A checked, split data set on disk, its examples in memory."""

    directory: Path
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    manifest: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """Equal for two directories exactly when their split files are equal to the byte."""
        return str(self.manifest["fingerprint"])

    @property
    def kind(self) -> ExampleKind:
        """What the examples can teach; those of one set are all of one kind, but raw text may stand beside conversations."""
        return self.train[0].kind

    @property
    def template(self) -> str:
        """The prompt template chosen at preparation, `auto` when none was."""
        return str(self.manifest["settings"]["template"])

    def summary(self) -> str:
        """What was read, kept and split, in a few lines for the screen."""
        return "\n".join(self.manifest["summary"])


def load_prepared(directory: str | Path) -> PreparedData:
    """Read a prepared directory and verify every split file against the manifest.

    Raises:
        DataError: not a prepared directory, written by a newer version, or changed since.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    splits = {name: _read_split(directory / f"{name}.jsonl", manifest["splits"][name]["sha256"]) for name in SPLIT_NAMES}
    return PreparedData(directory=directory, manifest=manifest, **splits)


def _read_manifest(directory: Path) -> dict[str, Any]:
    file = directory / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = manifest["schema_version"]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            str(directory),
            "not a prepared directory" if directory.exists() else "there is no such directory",
            expected=f"a directory with a {MANIFEST}",
            remedy="make one with `tunesmith prepare FILES --out DIR`",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(str(file), f"not a manifest ({error})", expected="a file written by `tunesmith prepare`", remedy=_AGAIN) from None
    if version > SCHEMA_VERSION:
        raise DataError(
            str(file),
            f"schema version {version}",
            expected=f"at most {SCHEMA_VERSION} (this is tunesmith {metadata.version('tunesmith')})",
            remedy="install a newer tunesmith, or prepare the data again with this one",
        )
    return dict(manifest)


_AGAIN = "edit the source file instead and prepare it again into another directory"


def _read_split(file: Path, sha256: str) -> tuple[Example, ...]:
    try:
        found = file_sha256(file)
    except FileNotFoundError:
        raise DataError(str(file), "the file is gone", expected="the file that was prepared", remedy="prepare the data again") from None
    if found != sha256:
        expected = f"the sha256 {sha256[:12]}… of the manifest"
        raise DataError(str(file), "it was changed after it was prepared", expected=expected, remedy=_AGAIN)
    return tuple(example_from_record(record) for record in read_json_lines(file))


def file_sha256(file: Path) -> str:
    """The checksum of a file's bytes, in hexadecimal."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def example_to_record(example: Example) -> dict[str, Any]:
    """The example as JSON keeps it; `example_from_record` gives back an equal one. Parts that are not there are left out."""
    record: dict[str, Any] = {"id": example.id, "source": example.source, "group": example.group}
    if example.messages:
        record["messages"] = [{"role": message.role, "content": message.content} for message in example.messages]
    if example.text is not None:
        record["text"] = example.text
    if example.rejected is not None:
        record["rejected"] = example.rejected
    if example.label is not None:
        record["label"] = example.label
    if example.unfinished:
        record["unfinished"] = True
    if example.fields:
        record["fields"] = dict(example.fields)
    return record


def example_from_record(record: Mapping[str, Any]) -> Example:
    """The inverse of `example_to_record`."""
    return Example(
        id=record["id"],
        source=record["source"],
        group=record["group"],
        messages=tuple(Message(role=message["role"], content=message["content"]) for message in record.get("messages", ())),
        text=record.get("text"),
        rejected=record.get("rejected"),
        label=record.get("label"),
        unfinished=record.get("unfinished", False),
        fields=record.get("fields", {}),
    )


def load_data_of(run: RunDirectory) -> PreparedData:
    """The data set a run was started on.

    Raises:
        RunError: it has changed since.
        DataError: it is gone.
    """
    expected = run.record()["data"]
    data = load_prepared(Path(expected["directory"]))
    if data.fingerprint != expected["fingerprint"]:
        raise RunError(
            str(run.path),
            f"the data set {data.directory} has changed since the run started (fingerprint {data.fingerprint})",
            expected=f"fingerprint {expected['fingerprint']}: other examples may have been trained on",
            remedy="restore the data set, or train a new run on the new one",
        )
    return data
