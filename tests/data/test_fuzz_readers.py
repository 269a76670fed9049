"""Arbitrary bytes under every suffix give rows or one of our errors, never another exception, and never an endless wait."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.reading.readers import READERS
from tunesmith.data.reading.sources import open_sources
from tunesmith.errors import TunesmithError
from tunesmith.types import Row

PACKED = (".jsonl.gz", ".csv.bz2", ".json.xz", ".txt.zst", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
OTHERS = (".md", ".html", ".pdf", ".docx", ".pdf.gz", ".unknown", "")
RECORDS = [{"question": "Hów?", "answer": "So.", "n": 1}, {"question": "Why?", "answer": "\u2028", "n": None}]

fuzz = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read_all(name: str, content: bytes) -> list[Row] | None:
    """The rows, or None when the file was refused with one of our errors."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            sources = [list(source.read()) for source in open_sources([file])]
        except TunesmithError as error:
            str(error).encode("utf-8")  # can be printed
            return None
        for rows in sources:
            with suppress(TunesmithError):
                recognise(rows, PrepareConfig())
        return [row for rows in sources for row in rows]


def parts() -> st.SearchStrategy[bytes]:
    """Random bytes, and pieces of what formats are made of, which lead deeper into the readers."""
    pieces = [
        b'{"q": "a"}',
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"\\u",
        b"\\ud800",
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xef\xbb\xbf",
    ]
    pieces += [
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xff\xfe\0\0",
        b"\xe4",
        b"1e999",
        b"-",
        b"NaN",
        b"question,answer\n",
        b"# A heading\n",
        b"<dl><dt>",
    ]
    pieces += [b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"BZh9", b"12/31/20, 9:41 PM - Ann: Hi\n", b"User: Hi\nBot: Hello\n", b"%PDF-1.7\n"]
    return st.lists(st.sampled_from(pieces) | st.binary(max_size=20), max_size=12).map(b"".join)


@pytest.mark.parametrize("suffix", [*READERS, *PACKED, *OTHERS])
@fuzz
@given(content=parts())
def test_any_bytes(suffix: str, content: bytes) -> None:
    read_all(f"fuzz{suffix}", content)


@cache
def whole(suffix: str) -> bytes:
    """A good file of the kind."""
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS).encode() * 20
    table = pyarrow.Table.from_pylist(RECORDS * 20)
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink, row_group_size=10)
    packed, rolled = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/faq.jsonl", lines)
        archive.writestr("b.txt", b"text")
    with tarfile.open(fileobj=rolled, mode="w:gz" if suffix == ".tar.gz" else "w") as tar:
        info = tarfile.TarInfo("a/faq.jsonl")
        info.size = len(lines)
        tar.addfile(info, io.BytesIO(lines))
    makers: dict[str, Callable[[], bytes]] = {
        ".jsonl": lambda: lines,
        ".json": lambda: json.dumps(RECORDS * 20).encode(),
        ".csv": lambda: b'question,answer\r\n"How, so?","two\r\nlines"\r\nWhy?,"""Thus"""\r\n' * 20,
        ".parquet": lambda: sink.getvalue().to_pybytes(),
        ".jsonl.gz": lambda: gzip.compress(lines),
        ".jsonl.bz2": lambda: bz2.compress(lines),
        ".jsonl.xz": lambda: lzma.compress(lines),
        ".jsonl.zst": lambda: pyarrow.compress(lines, "zstd", asbytes=True),
        ".zip": packed.getvalue,
        ".tar": rolled.getvalue,
        ".tar.gz": rolled.getvalue,
    }
    return makers[suffix]()


@pytest.mark.parametrize(
    "suffix", [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zst", ".zip", ".tar", ".tar.gz"]
)
@fuzz
@given(data=st.data())
def test_good_files_with_damage(suffix: str, data: st.DataObject) -> None:
    good = whole(suffix)
    assert read_all(f"fuzz{suffix}", good)
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(("change", "cut", "insert", "remove"))):
            case "change":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                content = content[: max(1, place)]
            case "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
            case _:
                del content[place : place + data.draw(st.integers(1, 9))]
        content = content or bytearray(b"\0")
    read_all(f"fuzz{suffix}", bytes(content))
