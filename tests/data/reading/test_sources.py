"""What a user can name: several files, folders, patterns, compressed files, exports; each opened once, read as often as one likes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tunesmith.data.importers import IMPORTERS
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.reading.sources import Source, open_sources, with_group
from tunesmith.errors import ConfigError, DataError

ROWS = '{"question": "How?", "answer": "So."}\n{"question": "Why?", "answer": "Thus."}\n'
QUESTIONS = ["How?", "Why?"]


def write(path: Path, content: str | bytes = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def questions(source: Source) -> list[str]:
    return [row.values["question"] for row in source.read()]


def places(*paths: Path | str, **options: str) -> list[str]:
    return [row.source for source in open_sources(paths, **options) for row in source.read()]


def refused(*paths: Path | str, **options: str) -> DataError:
    with pytest.raises(DataError) as caught:
        places(*paths, **options)
    return caught.value


# --- files --------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_often_as_one_likes(tmp_path: Path) -> None:
    file = write(tmp_path / "faq.jsonl")
    (source,) = open_sources([file])
    assert questions(source) == questions(source) == QUESTIONS
    assert (source.label, source.path, source.kind, source.note) == ("faq.jsonl", str(file), "JSON Lines", "")
    assert (source.sha256, source.num_bytes) == (hashlib.sha256(ROWS.encode()).hexdigest(), len(ROWS))
    assert source.remarks() == ""


def test_rows_come_before_the_file_has_been_read(tmp_path: Path) -> None:
    """A fault a megabyte further on does not keep the first row from coming."""
    (source,) = open_sources([write(tmp_path / "faq.jsonl", ROWS + " " * 3_000_000 + "\nbroken")])
    rows = source.read()
    assert next(rows).values["question"] == "How?"
    with pytest.raises(DataError, match=r"faq\.jsonl:4: broken JSON"):
        list(rows)


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda data: pyarrow.compress(data, "zstd", asbytes=True)),
    ],
)
def test_compressed_files(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(ROWS.encode())
    (source,) = open_sources([write(tmp_path / f"faq.jsonl{suffix}", packed)])
    assert [row.source for row in source.read()] == [f"faq.jsonl{suffix}:1", f"faq.jsonl{suffix}:2"]
    assert questions(source) == QUESTIONS
    assert (source.kind, source.num_bytes, source.sha256) == ("JSON Lines", len(packed), hashlib.sha256(packed).hexdigest())
    cut = refused(write(tmp_path / f"cut.jsonl{suffix}", pack(os.urandom(200_000).hex().encode())[:50_000]))
    assert cut.place.startswith(f"cut.jsonl{suffix}")
    damaged = refused(write(tmp_path / f"no.csv{suffix}", "question,answer\n"))
    assert (damaged.place, damaged.found.startswith("it cannot be read (")) == (f"no.csv{suffix}", True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "utf-32-be"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    text = ("" if encoding in ("utf-16", "utf-32") else "\ufeff") + "question,answer\nWürden Sie?,„Ja“ 😀\n"
    (source,) = open_sources([write(tmp_path / "faq.csv", text.encode(encoding))])
    assert [dict(row.values) for row in source.read()] == [{"question": "Würden Sie?", "answer": "„Ja“ 😀"}]
    assert source.note == f"read as {encoding[:6].upper()}, as its first bytes say"


def test_mixed_line_endings(tmp_path: Path) -> None:
    lines = write(tmp_path / "mixed.jsonl", '{"q": 1}\r\n{"q": 2}\r{"q": 3}\n\r\n{"q": "a\u2028b"}')
    assert places(lines) == ["mixed.jsonl:1", "mixed.jsonl:2", "mixed.jsonl:3", "mixed.jsonl:5"]
    assert places(write(tmp_path / "mixed.csv", "q,a\r1,2\r\n3,4\n5,6")) == ["mixed.csv:2", "mixed.csv:3", "mixed.csv:4"]


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_separators_are_told_from_the_line_of_names(tmp_path: Path, mark: str, name: str, encoding: str) -> None:
    text = f'question{mark}answer\r\n"How; so, and\t?"{mark}1,5\r\n'
    (source,) = open_sources([write(tmp_path / "faq.csv", text.encode(encoding))])
    assert [dict(row.values) for row in source.read()] == [{"question": "How; so, and\t?", "answer": "1,5"}]
    assert source.note.endswith(f"its values are separated by {name}")
    assert open_sources([write(tmp_path / "usual.csv", "a,b;c\n1,2\n")])[0].note == ""


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path / "faq.jsonl")
    (source,) = open_sources([file])
    write(file, ROWS + ROWS)
    with pytest.raises(DataError, match="the file has changed since it was opened"):
        list(source.read())


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [("a.jsonl", gzip.compress(b"{}", mtime=0), ".gz"), ("a.csv", b"PK\x03\x04rest", ".zip"), ("a.txt", b"PAR1....", ".parquet")],
)
def test_a_packed_file_under_another_name(tmp_path: Path, name: str, content: bytes, suffix: str) -> None:
    error = refused(write(tmp_path / name, content))
    assert (error.found, error.remedy) == (
        f"its first bytes are those of a {suffix} file",
        f"rename it so that its name ends with {suffix}",
    )


def test_pipes_devices_and_links_to_nowhere_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert refused(tmp_path / "pipe.jsonl").found == "it is a named pipe, which cannot be read twice"
    assert refused("/dev/zero").found == "it is a device, which cannot be read twice"
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    assert refused(tmp_path / "loop.jsonl").found == "it is a link that leads nowhere"
    assert refused("x" * 300).found == "no file can have so long a name"
    assert refused("faq\0.jsonl").found == "there is no such file"


# --- several ------------------------------------------------------------------------------------------------------------


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a/faq.jsonl")), write(Path("b/faq.jsonl"))
    assert places("a/faq.jsonl", "b/faq.jsonl") == ["a/faq.jsonl:1", "a/faq.jsonl:2", "b/faq.jsonl:1", "b/faq.jsonl:2"]


def test_names_that_are_no_text_can_still_be_printed(tmp_path: Path) -> None:
    (source,) = open_sources([write(tmp_path / os.fsdecode(b"f\xffq.jsonl"))])
    assert (source.label, source.path, len(questions(source))) == ("f?q.jsonl", f"{tmp_path}/f?q.jsonl", 2)
    (row,) = with_group(rows_from_records([{"user": "\ud800"}]), "user")
    assert row.group == "user=?"


def test_no_file_is_read_twice(tmp_path: Path) -> None:
    file = write(tmp_path / "faq.jsonl")
    assert refused(file, tmp_path / "*.jsonl").found == "it is given twice"
    assert refused(file, tmp_path).found == "it is given twice"
    (tmp_path / "link.jsonl").symlink_to(file)
    assert refused(file, tmp_path / "link.jsonl").found == "it is given twice"
    packed = write(tmp_path / "faq.tar.zst", pyarrow.compress(tar_of(file), "zstd", asbytes=True))
    assert places(packed) == ["faq.tar.zst/faq.jsonl:1", "faq.tar.zst/faq.jsonl:2"]
    assert refused(packed, packed).found == "it is given twice"


def tar_of(file: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(file, file.name)
    return buffer.getvalue()


def test_patterns(tmp_path: Path) -> None:
    for name in ("a/one.jsonl", "a/b/two.jsonl.gz", "three.csv", ".hidden.jsonl"):
        write(tmp_path / name, gzip.compress(ROWS.encode()) if name.endswith(".gz") else ROWS)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a")  # leads round in circles
    labels = [source.label for source in open_sources([f"{tmp_path}/**/*.jsonl*"])]
    assert labels == ["two.jsonl.gz", "one.jsonl"]
    assert refused(f"{tmp_path}/*.parquet").found == "no file matches this pattern"
    write(tmp_path / "odd[1].jsonl")
    assert places(tmp_path / "odd[1].jsonl") == ["odd[1].jsonl:1", "odd[1].jsonl:2"]


def test_a_folder_of_mixed_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder / "faq.jsonl")
    write(folder / "deep" / "faq.csv", "question,answer\nWhen?,Now.\n")
    parquet.write_table(pyarrow.table({"question": ["Where?"], "answer": ["Here."]}), folder / "deep" / "q.parquet")
    for name in ("picture.png", "other.png", "Makefile", ".hidden.jsonl", "__MACOSX/faq.jsonl", "README.md", "LICENSE.txt"):
        write(folder / name, "x")
    write(folder / "empty.jsonl", "")
    (folder / "round").symlink_to(folder)
    (folder / "lost.jsonl").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.jsonl")
    sources = open_sources([folder])
    assert [source.label for source in sources] == ["mine/deep/faq.csv", "mine/deep/q.parquet", "mine/faq.jsonl"]
    assert [source.path for source in sources] == [str(folder / name) for name in ("deep/faq.csv", "deep/q.parquet", "faq.jsonl")]
    assert [one for source in sources for one in questions(source)] == ["When?", "Where?", *QUESTIONS]
    left_out = (
        "left out 2 of the kind .png, 1 called LICENSE, 1 without a suffix, 1 called README, 1 empty, 1 link to nowhere, "
        "1 pipe or device, 1 link to a folder"
    )
    assert [source.note for source in sources] == [left_out, "", ""]


def test_a_folder_without_readable_files(tmp_path: Path) -> None:
    write(tmp_path / "pictures" / "cat.png", "x")
    error = refused(tmp_path / "pictures")
    assert (error.place, error.found) == ("pictures", "no file in it can be read (1 of the kind .png)")


def test_split_is_of_data_sets_alone(tmp_path: Path) -> None:
    assert "a file has no split 'train'" in refused(write(tmp_path / "faq.jsonl"), split="train").found


# --- exports ------------------------------------------------------------------------------------------------------------


def slack_export(folder: Path) -> Path:
    message = {
        "type": "message",
        "user": "U1",
        "text": "How do I reset my password?",
        "ts": "1704448800.000100",
        "thread_ts": "1704448800.000100",
    }
    answer = {**message, "user": "U2", "text": "Settings, then Security.", "ts": "1704448860.000200"}
    write(folder / "users.json", json.dumps([{"id": "U1", "name": "ann"}, {"id": "U2", "name": "bob"}]))
    write(folder / "channels.json", json.dumps([{"id": "C1", "name": "help"}]))
    write(folder / "help" / "2024-01-05.json", json.dumps([message, answer]))
    return folder


def test_an_export_is_recognised_and_read_by_its_importer(tmp_path: Path) -> None:
    (source,) = open_sources([slack_export(tmp_path / "export")])
    (row,) = source.read()
    assert [message["role"] for message in row.values["messages"]] == ["user", "assistant"]
    assert row.group
    assert (source.kind, source.label) == (IMPORTERS["slack"].description, "export")
    assert source.sha256 is None


def test_documents_beside_tables_and_alone(tmp_path: Path) -> None:
    write(tmp_path / "mixed" / "faq.jsonl")
    write(tmp_path / "mixed" / "guide.md", "# Shipping\n\nWe ship to forty countries, and returns are free for thirty days.\n")
    assert [source.label for source in open_sources([tmp_path / "mixed"])] == ["mixed/faq.jsonl", "mixed/guide.md"]
    write(tmp_path / "docs" / "README.md", "# Shipping\n\nWe ship to forty countries, and returns are free for thirty days.\n")
    (source,) = open_sources([tmp_path / "docs"])
    (row,) = source.read()
    assert (source.label, source.kind) == ("docs", IMPORTERS["documents"].description)
    assert "forty countries" in row.values["text"]


def test_a_kind_is_taken_at_its_word(tmp_path: Path) -> None:
    chat = "Ann: How do I reset my password?\nBob: Settings, then Security.\n" * 2
    file = write(tmp_path / "chat.txt", chat)
    assert [set(row.values) for source in open_sources([file]) for row in source.read()] == [{"text"}]
    (source,) = open_sources([file], kind="transcript", assistant="Bob")
    (row,) = source.read()
    assert [message["role"] for message in row.values["messages"]] == ["user", "assistant"] * 2
    (packed,) = open_sources([write(tmp_path / "packed.txt.gz", gzip.compress(chat.encode()))], kind="transcript", assistant="Bob")
    assert [dict(one.values) for one in packed.read()] == [dict(row.values)]
    write(tmp_path / "chats" / "a.txt", chat)
    write(tmp_path / "chats" / "b.txt", chat)
    assert [source.label for source in open_sources([tmp_path / "chats"], kind="transcript", assistant="Bob")] == [
        "chats/a.txt",
        "chats/b.txt",
    ]


def test_a_kind_that_there_is_none_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no kind 'telegram'; expected one of slack"):
        open_sources([write(tmp_path / "faq.jsonl")], kind="telegram")


# --- groups -------------------------------------------------------------------------------------------------------------


def test_groups_by_a_column() -> None:
    rows = rows_from_records([{"User": 7, "q": "a"}, {"User": None, "q": "b"}, {"q": "c"}, {"User": "8"}])
    assert [row.group for row in with_group(rows, "user")] == ["User=7", None, None, "User=8"]
    with pytest.raises(DataError, match=r"there is no column 'thread' \(--group-key\); expected one of the columns User, q"):
        list(with_group(rows, "thread"))


# --- memory -------------------------------------------------------------------------------------------------------------


def slow_peak(run: Callable[[], None]) -> int:
    """Bytes that Python allocated at once."""
    import tracemalloc

    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def consume(rows: Iterator[object]) -> None:
    for _ in rows:
        pass


@pytest.mark.parametrize("name", ["many.jsonl", "many.csv", "many.json", "many.jsonl.gz"])
def test_many_rows_are_never_in_memory_at_once(tmp_path: Path, name: str) -> None:
    filling = "x" * 1_000
    record = json.dumps({"question": filling, "answer": "y"})
    if name.endswith(".csv"):
        text = "question,answer\n" + f"{filling},y\n" * 20_000
    elif name.endswith(".json"):
        text = "[" + ",\n".join([record] * 20_000) + "]"
    else:
        text = (record + "\n") * 20_000
    content = text.encode()
    # What compresses beyond the ratio that is tolerated does so only once it is large.
    (source,) = open_sources([write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)])
    del text, content
    assert slow_peak(lambda: consume(source.read())) < 12_000_000


def test_folders_of_data_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name / "data" for name in ("one", "two")]
    for folder in folders:
        write(folder / "train.jsonl")
    assert [one.label for one in open_sources(folders[:1])] == ["data/train"]
    labels = [one.label for one in open_sources(folders)]
    assert labels == [folder.as_posix() for folder in folders]
    assert places(*folders)[0] == f"{labels[0]}#1"


@pytest.mark.parametrize("name", ["A.TXT", "a.txt.gz"])
def test_a_readme_beside_texts_is_a_text(tmp_path: Path, name: str) -> None:
    write(tmp_path / "notes" / name, gzip.compress(b"Some notes.") if name.endswith("gz") else "Some notes.")
    write(tmp_path / "notes" / "readme.txt", "How to read the notes.")
    assert len(places(tmp_path / "notes")) == 2
