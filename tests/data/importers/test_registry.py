"""All importers together: none takes what is an ordinary data set, and all are named where people look for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.cli import options
from tunesmith.data.importers import IMPORTERS, find_importer
from tunesmith.data.importers.record import HEAD_BYTES, require_size
from tunesmith.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[3]


def test_every_kind_is_named_in_the_help_and_the_guide() -> None:
    help_text = Path(options.__file__).read_text(encoding="utf-8")
    assert ", ".join(IMPORTERS) in help_text
    guide = (REPOSITORY / "docs" / "guide.md").read_text(encoding="utf-8")
    assert [name for name in IMPORTERS if f"`{name}`" not in guide] == []


def test_no_importer_takes_an_ordinary_data_set(tmp_path: Path) -> None:
    shared = REPOSITORY.parent / "shared" / "data"
    if not shared.is_dir():
        pytest.skip("the shared data sets are not there")
    taken = [file for file in shared.rglob("*") if file.name != "README.md" and find_importer(file) is not None]
    assert [file.name for file in taken] == ["alpaca_seed_tasks.jsonl"]


@pytest.mark.parametrize("name", IMPORTERS)
def test_what_is_not_there_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        list(IMPORTERS[name].read(tmp_path / "nothing.md", "nothing.md"))


@pytest.mark.parametrize("suffix", ["txt", "md", "html", "csv", "json", "jsonl", "pdf", "docx", "rst", ""])
def test_bytes_of_any_kind_are_looked_at_without_harm(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"x.{suffix}"
    for content in (b"", b"\xff\xfe\x00", b"\x00" * 100, bytes(range(256)) * 300, b"\xef\xbb\xbf", b"[" * 70_000, b'"' * 70_000):
        file.write_bytes(content)
        importer = find_importer(file, content[:HEAD_BYTES])
        if importer is not None:
            with contextlib.suppress(DataError):
                assert all(row.source for row in importer.read(file, file.name))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.md")
    with pytest.raises(DataError, match="it is no file"):
        list(IMPORTERS["documents"].read(tmp_path / "x.md", "x.md"))


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"12345")
    with pytest.raises(DataError, match=r"it has 5 bytes.*at most 4"):
        require_size(file, "x.txt", 4)


def test_importing_them_loads_no_heavy_library() -> None:
    check = (
        "import sys, tunesmith.data.importers as i; print([n for n in ('bs4', 'lxml', 'docx', 'pypdf', 'markdown_it') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
