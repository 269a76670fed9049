"""A prepared directory: what `tunesmith prepare` writes and training reads.

    prepared/faq/
      train.jsonl        one example a line, as `example_to_record` writes it
      validation.jsonl
      test.jsonl
      report.json        what was read, kept and left out, for people; report.html is the same with plots
      removed.jsonl      every row and example left out, with its source and reason
      changed.jsonl      every example that a fix or a reviewer changed, with its source, reason, before and after
      manifest.json      sources, settings and fingerprints; written last

The fingerprints make sure that what is trained on is what was prepared: a split file edited by hand is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tunesmith.data.storing.store import StoredExamples, example_from_record, example_to_record, open_examples
from tunesmith.errors import DataError, RunError
from tunesmith.runs import RunDirectory
from tunesmith.types import Example, ExampleKind

__all__ = ["PreparedData", "example_from_record", "example_to_record", "load_data_of", "load_prepared"]

SCHEMA_VERSION = 1
"""Of prepared directories; a higher one was written by a newer tunesmith and is refused."""

SPLIT_NAMES = ("train", "validation", "test")
MANIFEST = "manifest.json"
REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedData:
    """A checked, split data set on disk; its examples are read when they are asked for."""

    directory: Path
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
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

    def findings(self) -> list[dict[str, Any]]:
        """What the checks found, worst first, as the report has it; empty for a set prepared before there were checks."""
        file = self.directory / REPORT
        return list(json.loads(file.read_text(encoding="utf-8")).get("findings", ())) if file.is_file() else []

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
    checksums = _checksums(manifest, directory / MANIFEST)
    splits = {name: _read_split(directory / f"{name}.jsonl", checksums[name]) for name in SPLIT_NAMES}
    return PreparedData(directory=directory, manifest=manifest, **splits)


def _read_manifest(directory: Path) -> dict[str, Any]:
    file = directory / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = int(manifest["schema_version"])
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            str(directory),
            "not a prepared directory" if directory.exists() else "there is no such directory",
            expected=f"a directory with a {MANIFEST}",
            remedy="make one with `tunesmith prepare FILES --out DIR`",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise _no_manifest(file, error) from None
    if version > SCHEMA_VERSION:
        raise DataError(
            str(file),
            f"schema version {version}",
            expected=f"at most {SCHEMA_VERSION} (this is tunesmith {metadata.version('tunesmith')})",
            remedy="install a newer tunesmith, or prepare the data again with this one",
        )
    return dict(manifest)


def _checksums(manifest: Mapping[str, Any], file: Path) -> dict[str, str]:
    """The sha256 of every split file."""
    try:
        return {name: manifest["splits"][name]["sha256"] for name in SPLIT_NAMES}
    except (KeyError, TypeError) as error:
        raise _no_manifest(file, error) from None


def _no_manifest(file: Path, error: Exception) -> DataError:
    return DataError(str(file), f"not a manifest ({error})", expected="a file written by `tunesmith prepare`", remedy=_AGAIN)


_AGAIN = "edit the source file instead and prepare it again into another directory"


def _read_split(file: Path, sha256: str) -> StoredExamples:
    try:
        examples, found = open_examples(file)
    except FileNotFoundError:
        raise DataError(str(file), "the file is gone", expected="the file that was prepared", remedy="prepare the data again") from None
    if found != sha256:
        expected = f"the sha256 {sha256[:12]}… of the manifest"
        raise DataError(str(file), "it was changed after it was prepared", expected=expected, remedy=_AGAIN)
    return examples


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
