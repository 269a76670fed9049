"""PDF: words put together, headers gone, and clear errors for what cannot be read. The files are made here, byte by byte."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter
from pypdf.errors import DependencyError

from tunesmith.data.importers import IMPORTERS, Tally, find_importer, pdf
from tunesmith.errors import DataError


def pdf_of(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF of lines of text, with a cross-reference table."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, lines in enumerate(pages):
        content = "BT /F1 12 Tf 72 720 Td 14 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 612 792]"
        objects.append(f"<< /Type /Page /Parent 2 0 R {resources} /Contents {5 + 2 * number} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    return data + f"{end}startxref\n{len(data)}\n%%EOF".encode()


PAGES = [
    ["The Manual", "A word may be di-", "vided, and Anne-", "Marie stays.", "Page 1 of 4"],
    ["The Manual", "Second.", "Page 2 of 4"],
    [],
    ["The Manual", "Last.", "Page 4 of 4"],
]


def file_of(folder: Path, data: bytes) -> Path:
    file = folder / "manual.pdf"
    file.write_bytes(data)
    return file


def read(file: Path, tally: Tally | None = None) -> list[tuple[str, str, str]]:
    return [(row.source, row.values["title"], row.values["text"]) for row in IMPORTERS["pdf"].read(file, "manual.pdf", tally=tally)]


def test_pages_become_passages(tmp_path: Path) -> None:
    file = file_of(tmp_path, pdf_of(PAGES))
    tally = Tally()
    assert find_importer(file) is IMPORTERS["pdf"]
    assert read(file, tally) == [
        ("manual.pdf#page=1", "manual.pdf > page 1", "A word may be divided, and Anne-\nMarie stays."),
        ("manual.pdf#page=2", "manual.pdf > page 2", "Second."),
        ("manual.pdf#page=4", "manual.pdf > page 4", "Last."),
    ]
    assert tally.note() == "left out 6 lines of headers and footers, 1 page without text"
    assert [row.values["document"] for row in IMPORTERS["documents"].read(tmp_path, "docs")] == ["manual.pdf"] * 3


def test_two_pages_are_too_few_to_tell_a_header(tmp_path: Path) -> None:
    rows = read(file_of(tmp_path, pdf_of([["Same", "One."], ["Same", "Two."]])))
    assert [text for *_, text in rows] == ["Same\nOne.", "Same\nTwo."]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_a_password_is_said(tmp_path: Path, algorithm: str) -> None:
    for password, is_open in [("secret", False), ("", True)]:
        writer = PdfWriter(clone_from=PdfReader(file_of(tmp_path, pdf_of(PAGES))))
        writer.encrypt(password, "owner", algorithm=algorithm)
        writer.write(tmp_path / "manual.pdf")
        if is_open:
            assert len(read(tmp_path / "manual.pdf")) == 3
        else:
            with pytest.raises(DataError, match=r"manual.pdf: it is protected by a password"):
                read(tmp_path / "manual.pdf")


def test_a_missing_decryption_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = PdfWriter(clone_from=PdfReader(file_of(tmp_path, pdf_of(PAGES))))
    writer.encrypt("", "owner", algorithm="AES-256")
    writer.write(tmp_path / "manual.pdf")

    def refuse(*_: object) -> bytes:
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr("pypdf._encryption.aes_cbc_decrypt", refuse)
    monkeypatch.setattr("pypdf._encryption.aes_cbc_encrypt", refuse)
    with pytest.raises(DataError, match=r"encrypted with AES, and the package .* not installed; expected cryptography.*pip install"):
        read(tmp_path / "manual.pdf")


def test_pictures_without_text_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of its 2 pages has text.*OCR"):
        read(file_of(tmp_path, pdf_of([[], []])))


def test_too_many_pages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MOST_PAGES", 3)
    with pytest.raises(DataError, match=r"4 pages; expected at most 3"):
        read(file_of(tmp_path, pdf_of(PAGES)))


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4\n", b"PK\x03\x04", pdf_of(PAGES)[:300]])
def test_damaged_files_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"manual.pdf: not readable as PDF"):
        read(file_of(tmp_path, data))


@settings(max_examples=40, deadline=None)
@given(position=st.integers(0, 2000), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(position: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(pdf_of(PAGES))
    data[position % len(data)] = byte
    with contextlib.suppress(DataError):
        read(file_of(tmp_path_factory.mktemp("pdf"), bytes(data)))
