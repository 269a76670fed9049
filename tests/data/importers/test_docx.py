"""Word documents: headings, lists and tables in order, and no harm from archives that are made to do some."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.data.importers import docx as importer
from tunesmith.errors import DataError


def document() -> bytes:
    made = docx.Document()
    made.add_heading("Handbook", 0)
    made.add_paragraph("Welcome.")
    made.add_heading("Leave", 1)
    made.add_heading("Holidays", 2)
    made.add_paragraph("Thirty days.")
    made.add_paragraph("Ask first.", style="List Bullet")
    table = made.add_table(2, 2)
    for number, text in enumerate(["Year", "Days", "2024", "30"]):
        table.cell(number // 2, number % 2).text = text
    table.add_row().cells[0].merge(table.rows[2].cells[1]).text = "both"
    data = io.BytesIO()
    made.save(data)
    return data.getvalue()


DOCUMENT = document()


def file_of(folder: Path, data: bytes) -> Path:
    file = folder / "handbook.docx"
    file.write_bytes(data)
    return file


def changed(members: dict[str, bytes]) -> bytes:
    """The document with other or more members."""
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(DOCUMENT)) as before, zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, members.get(name, before.read(name)))
        for name in members.keys() - set(before.namelist()):
            after.writestr(name, members[name])
    return data.getvalue()


def read(file: Path, tally: Tally | None = None) -> list[tuple[str, str, str]]:
    return [(row.source, row.values["title"], row.values["text"]) for row in IMPORTERS["docx"].read(file, "handbook.docx", tally=tally)]


def test_headings_lists_and_tables(tmp_path: Path) -> None:
    file = file_of(tmp_path, DOCUMENT)
    assert find_importer(file) is IMPORTERS["docx"]
    assert read(file) == [
        ("handbook.docx#1", "Handbook", "Handbook\n\nWelcome."),
        ("handbook.docx#4", "Handbook > Leave > Holidays", "Holidays\n\nThirty days.\n\n- Ask first.\n\nYear | Days\n2024 | 30\nboth"),
    ]


def test_a_bomb_is_not_opened(tmp_path: Path) -> None:
    bomb = changed({"word/media/image1.bmp": b"\0" * (50 * 2**20)})
    assert len(bomb) < 2**20
    with pytest.raises(DataError, match=r"unpacks to .* out of proportion"):
        read(file_of(tmp_path, bomb))


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    body = b"<w:document>" + b"a" * 5_000_000
    lying = bytearray(changed({"word/document.xml": body}))
    size = len(body).to_bytes(4, "little")
    position = lying.find(size)
    while position >= 0:
        lying[position : position + 4] = (1000).to_bytes(4, "little")
        position = lying.find(size)
    with pytest.raises(DataError, match="not readable as DOCX"):
        read(file_of(tmp_path, bytes(lying)))


def test_entities_are_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    with zipfile.ZipFile(io.BytesIO(DOCUMENT)) as archive:
        body = archive.read("word/document.xml").decode()
    head, _, rest = body.partition("?>")
    evil = f'{head}?><!DOCTYPE w [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY y "ha">]>{rest.replace("Welcome.", "Welcome &x; &y;.")}'
    with contextlib.suppress(DataError):
        assert "top secret" not in str(read(file_of(tmp_path, changed({"word/document.xml": evil.encode()}))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not readable as DOCX"),
        (DOCUMENT[:2000], "not readable as DOCX"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "protected by a password"),
        (changed({"word/document.xml": b"<broken"}), "not readable as DOCX"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(file_of(tmp_path, data))


def test_a_zip_of_something_else_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "handbook.docx", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(DataError, match=r"it holds no word/document.xml"):
        read(tmp_path / "handbook.docx")


def test_an_empty_document_is_said(tmp_path: Path) -> None:
    docx.Document().save(str(tmp_path / "handbook.docx"))
    with pytest.raises(DataError, match="no text is in it"):
        read(tmp_path / "handbook.docx")


@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, len(DOCUMENT) - 1), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(position: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(DOCUMENT)
    data[position] = byte
    with contextlib.suppress(DataError):
        read(file_of(tmp_path_factory.mktemp("docx"), bytes(data)))


def test_limits_are_looked_at_before_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "LARGEST_XML_BYTES", 100)
    with pytest.raises(DataError, match="out of proportion"):
        read(file_of(tmp_path, DOCUMENT))
