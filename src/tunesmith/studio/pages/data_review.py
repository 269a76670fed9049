"""Edits of a prepared data set, collected in a review table, and the command that makes a new version with them.

    >>> draft = Draft.of(data, folder)                 # the folder keeps one table for each data set
    >>> draft.decide(row, "edit", prompt="Is it free?", answer="Yes.")
    >>> draft.command(Path("prepared/faq-2"))
    ['prepare', 'faq.csv', '--out=prepared/faq-2', '--like=prepared/faq', '--review=…/review-9f2c…-51d0….jsonl']
    >>> with draft.making(new):                        # as the page does: what is decided meanwhile stays in the draft
    ...     words = draft.freeze(new)
    ...     await ask([*words, "--json"])
    ...     draft.made(new)

The table is what `tunesmith prepare --review` reads (`data/converting/review.py`): the sources are prepared anew, the old set is never
changed. A version that was made so keeps its table, and the next one starts from it; otherwise its changes would be lost, as the sources
know nothing of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.repair import with_parts
from tunesmith.data.converting.review import COLUMNS, REVIEWED
from tunesmith.data.preparing.gather import CHANGED
from tunesmith.data.storing.store import example_from_record
from tunesmith.errors import DataError
from tunesmith.files import file_sha256, read_json_lines, write_text
from tunesmith.studio.pages.data_reading import Row
from tunesmith.studio.readable import Unreadable, find, items, mapping, read_object, text, whole
from tunesmith.studio.reading import DataSummary

Choice = Literal["edit", "drop"]
Line = dict[str, str]
"""A line of the table: `source`, `id`, `prompt`, `answer`, `findings`, `decision`."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OF_THE_SPLIT = ("like",)
"""Settings that are not taken over: the new version is like the old one."""
DRAFT, KEPT = "review-{}-{}.jsonl", "review-of-{}.jsonl"
"""By fingerprint: of the data set that is edited, with its place, as two may have the same examples; and of the one that was made."""
FROZEN = "review-for-{}-{}.jsonl"
"""By the names of the version that is being made and of the draft: the decisions that go into it."""


class Draft:
    """What was decided about the rows of one data set, and not made into a version yet."""

    def __init__(self, data: DataSummary, folder: Path) -> None:
        self.data, self.folder = data, folder
        place = hashlib.sha256(os.fsencode(data.path.resolve())).hexdigest()
        self.table = folder / DRAFT.format(data.fingerprint[:16], place[:16])
        self.is_making = False
        self.manifest = read_object(data.path / "manifest.json")
        self._lock = threading.Lock()
        self._before = _texts_before(data.path / CHANGED)
        self._earlier = _read_table(folder / KEPT.format(data.fingerprint[:16]))
        self._lines = {**self._earlier, **_read_table(self.table)}

    @property
    def refusal(self) -> str | None:
        """Why no version can be made of this one; None where it can."""
        if not self.sources():
            return "Its sources are not known: it was made of rows in memory. Edit those, and prepare them again."
        reviewed = sum(whole(self._report(), part, REVIEWED) or 0 for part in ("removed", "changed"))
        if reviewed and not self._earlier:
            return (
                "It was made with a review table that is not kept here, and a new version would lose those changes. "
                "Edit that table and run `tunesmith prepare --review` with it, or start from the version before."
            )
        return None

    def _report(self) -> dict[str, Any]:
        try:
            return read_object(self.data.path / "report.json")
        except Unreadable:
            return {}

    def sources(self) -> list[str]:
        """Paths, as the command names them; none where one is not known."""
        found = [_path_of(one) for one in items(self.manifest, "sources")]
        return found if all(one and not one.startswith("-") for one in found) else []

    @property
    def changes(self) -> list[Line]:
        """Those that the data set does not have yet."""
        return [line for id_, line in self._lines.items() if line != self._earlier.get(id_)]

    def decision(self, row: Row) -> Line | None:
        """What was decided about a row, and is not made yet."""
        line = self._lines.get(self._read_id(row))
        return line if line is not None and line != self._earlier.get(line["id"]) else None

    def decide(self, row: Row, choice: Choice, *, prompt: str = "", answer: str = "") -> None:
        """Drop a row, or give it another prompt and answer.

        Raises:
            DataError: the answer is empty, or a text holds half of a character.
        """
        if choice == "edit" and not answer.strip():
            raise DataError(row.source, "the answer is empty", expected="an answer", remedy="write one, or drop the row")
        if not (prompt + answer).isascii() and _is_torn(prompt + answer):
            raise DataError(row.source, "the text holds half of a character", expected="whole ones", remedy="type it anew")
        id_ = self._read_id(row)
        line = {"source": row.source, "id": id_, "prompt": prompt, "answer": answer, "findings": "", "decision": choice}
        with self._lock:
            self._lines[id_] = line
            self._save()

    def forget(self, id_: str) -> None:
        """Leave a row as the data set has it."""
        with self._lock:
            self._lines.pop(id_, None)
            if id_ in self._earlier:
                self._lines[id_] = self._earlier[id_]
            self._save()

    def command(self, new: Path, *, review: Path | None = None) -> list[str]:
        """The words after `tunesmith` that make the new version at `new`, of the draft's table or of another one."""
        settings = {name: value for name, value in _settings(self.manifest).items() if name not in OF_THE_SPLIT}
        options = [word for name, value in settings.items() for word in _option(name, value)]
        return ["prepare", *self.sources(), f"--out={new}", f"--like={self.data.path}", *options, f"--review={review or self.table}"]

    @contextmanager
    def making(self, new: Path) -> Iterator[None]:
        """One version at a time is made of a draft; what was frozen for it is thrown away unless it was made.

        Raises:
            DataError: one is being made.
        """
        with self._lock:
            if self.is_making:
                raise DataError(self.data.name, "a new version is being made of it", expected="one at a time", remedy="wait for it")
            self.is_making = True
        try:
            yield
        finally:
            with self._lock:
                self.is_making = False
                self._frozen(new).unlink(missing_ok=True)

    def freeze(self, new: Path) -> list[str]:
        """Write down what goes into the version at `new`; returns the words after `tunesmith` that make it.

        Raises:
            DataError: a source is not the file that the data set was made of.
        """
        self._check_sources()
        with self._lock:
            _write_table(self._frozen(new), self._lines)
        return self.command(new, review=self._frozen(new))

    def made(self, new: Path) -> None:
        """The version is there: its table is kept for the next one, and what was decided since it was frozen is left to be made."""
        fingerprint = text(read_object(new / "manifest.json"), "fingerprint") or ""
        frozen = _read_table(self._frozen(new))
        with self._lock:
            self._frozen(new).replace(self.folder / KEPT.format(fingerprint[:16]))
            self._lines = {**self._earlier, **{id_: line for id_, line in self._lines.items() if line != frozen.get(id_)}}
            self._save()

    def _frozen(self, new: Path) -> Path:
        return self.folder / FROZEN.format(new.name, self.table.stem.removeprefix("review-"))

    def _check_sources(self) -> None:
        """A relative path is looked up from here, where another file of the name may lie; one that is missing the command misses itself."""
        for one in items(self.manifest, "sources"):
            path, sha256 = Path(_path_of(one)), text(one, "sha256")
            if sha256 and path.is_file() and file_sha256(path) != sha256:
                raise DataError(
                    str(path),
                    "the source has changed, or is another file",
                    expected=f"the file of which {self.data.name} was made",
                    remedy="start the studio in the directory where it was prepared, or prepare it anew",
                )

    def _save(self) -> None:
        if self.changes:
            _write_table(self.table, self._lines)
        else:
            self.table.unlink(missing_ok=True)

    def _read_id(self, row: Row) -> str:
        """The id that the row had when it was read, before fixes and earlier edits: by it a review finds its row.

        Raises:
            Unreadable: the row is no example.
        """
        try:
            example = example_from_record(row.record)
            for texts in self._before.get(example.source, ()):
                example = with_parts(example, texts)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Unreadable(f"the row is no example ({error})") from None
        return example.id


def check_name(name: str, data_dir: Path) -> Path:
    """The directory of a new version.

    Raises:
        DataError: it is no name, or taken.
    """
    if not NAME.fullmatch(name):
        raise DataError("new version", f"the name {name!r}", expected="letters, digits, - _ and .", remedy="choose another name")
    if (data_dir / name).exists():
        raise DataError(name, "there is a data set of this name, and none is ever overwritten", expected="a new name", remedy="choose one")
    return data_dir / name


def free_name(data: DataSummary, data_dir: Path) -> str:
    """`faq` -> `faq-2`, or the next that is free."""
    stem = re.sub(r"-\d+$", "", data.path.name) or "data"
    number = 2
    while (data_dir / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def _texts_before(file: Path) -> dict[str, list[Mapping[str, str]]]:
    """By source: what fixes and reviewers replaced, the last one first."""
    found: dict[str, list[Mapping[str, str]]] = {}
    try:
        for record in read_json_lines(file) if file.is_file() else ():
            found.setdefault(text(record, "source") or "", []).insert(0, mapping(record, "before"))
    except ValueError as error:
        raise Unreadable(f"{file.name} is not JSON Lines ({error})") from None
    return found


def _read_table(file: Path) -> dict[str, Line]:
    """By id; empty where there is no table.

    Raises:
        Unreadable: it is not as it was written.
    """
    if not file.is_file():
        return {}
    try:
        found = [line for line in read_json_lines(file) if isinstance(find(line, "id"), str)]
    except ValueError as error:
        raise Unreadable(f"the review table {file.name} is not JSON Lines ({error})") from None
    return {line["id"]: {column: str(line.get(column, "")) for column in COLUMNS} for line in found}


def _write_table(file: Path, lines: Mapping[str, Line]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values()))


def _is_torn(content: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in content)


def _path_of(source: object) -> str:
    return text(source, "path") or text(source, "name") or ""


def _settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not the defaults."""
    defaults = PrepareConfig().model_dump(mode="json")
    given = mapping(manifest, "settings")
    return {name: given[name] for name in defaults if name in given and given[name] != defaults[name]}


def _option(name: str, value: Any) -> list[str]:
    """As it is typed."""
    option = f"--{name.replace('_', '-')}"
    if name == "weights":
        return [f"--weight={source}={weight}" for source, weight in mapping({"": value}, "").items()]
    if name == "against":
        return [f"{option}={one}" for one in items({"": value}, "")]
    return [f"{option}={','.join(map(str, value)) if isinstance(value, list) else value}"]
