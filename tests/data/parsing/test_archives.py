"""Archives are unpacked into a folder that goes away again; what could do harm is refused whole."""

from __future__ import annotations

import gc
import gzip
import io
import json
import multiprocessing
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.reading.test_sources import QUESTIONS, ROWS, places, questions, refused, slack_export
from tunesmith.data.parsing import archives, streams
from tunesmith.data.parsing.archives import TemporaryFolder
from tunesmith.data.reading.sources import open_sources


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, so that a test can see what is left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def zipped(file: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
    return file


def tarred(file: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    mode = {".tar": "w", ".bz2": "w:bz2", ".txz": "w:xz"}.get(file.suffix, "w:gz")
    with tarfile.open(file, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


MEMBERS = (
    ("mine/faq.jsonl", ROWS.encode()),
    ("mine/deep/faq.csv", b"question,answer\nWhen?,Now.\n"),
    ("cat.png", b"x"),
    ("__MACOSX/._faq.jsonl", b"x"),
)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("data.zip", zipped),
        ("data.tar", tarred),
        ("data.tar.gz", tarred),
        ("data.tgz", tarred),
        ("data.tar.bz2", tarred),
        ("data.txz", tarred),
    ],
)
def test_members_are_read_like_the_files_of_a_folder(tmp_path: Path, temporary: Path, name: str, pack: Callable[..., Path]) -> None:
    sources = open_sources([pack(tmp_path / name, *MEMBERS)])
    assert [source.label for source in sources] == [f"{name}/mine/deep/faq.csv", f"{name}/mine/faq.jsonl"]
    assert sources[0].path == str(tmp_path / name / "mine" / "deep" / "faq.csv")
    assert sources[0].note == "left out 1 of the kind .png"
    assert [one for source in sources for one in questions(source)] == ["When?", *QUESTIONS]
    read = sources[1].read
    del sources
    assert [row.values["question"] for row in read()] == QUESTIONS  # the folder lives as long as whoever reads from it
    del read
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_an_export_in_a_zip(tmp_path: Path, temporary: Path) -> None:
    folder = slack_export(tmp_path / "export")
    file = zipped(tmp_path / "Acme export.zip", *((str(one.relative_to(folder)), one.read_bytes()) for one in folder.rglob("*.json")))
    (source,) = open_sources([file])
    (row,) = source.read()
    assert (source.label, source.kind) == ("Acme export.zip", "Slack export")
    assert row.source.startswith("Acme export.zip/help/2024-01-05.json")


def test_archives_of_a_folder_are_opened_but_not_those_in_archives(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", ("a.jsonl", ROWS.encode())).read_bytes()
    (tmp_path / "folder").mkdir()
    zipped(tmp_path / "folder" / "outer.zip", ("b.jsonl", ROWS.encode()), ("inner.zip", inner))
    (source,) = open_sources([tmp_path / "folder"])
    assert (source.label, source.note) == ("folder/outer.zip/b.jsonl", "left out 1 archive within the archive")


def test_a_forked_process_leaves_the_folder_alone(temporary: Path) -> None:
    held = [TemporaryFolder()]
    child = multiprocessing.get_context("fork").Process(target=held.clear)
    child.start()
    child.join()
    assert (child.exitcode, len(list(temporary.iterdir()))) == (0, 1)
    held.clear()
    assert list(temporary.iterdir()) == []


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../evil.jsonl", "a/../../evil.jsonl", "/evil.jsonl", "..\\evil.jsonl", "C:evil.jsonl", "C:\\evil.jsonl", ".."]
)
@pytest.mark.parametrize(("archive", "pack"), [("data.zip", zipped), ("data.tar.gz", tarred)])
def test_paths_that_lead_out(tmp_path: Path, temporary: Path, archive: str, pack: Callable[..., Path], name: str) -> None:
    error = refused(pack(tmp_path / archive, ("good.jsonl", ROWS.encode()), (name, ROWS.encode())))
    assert error.place == archive
    assert error.found == f"the member {name!r} has a path that leads out of the folder it is unpacked to"
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert {one.name for one in tmp_path.iterdir()} == {archive, "temporary"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_a_tar(tmp_path: Path, temporary: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("users.jsonl")
    info.type, info.linkname = kind, "/etc/passwd"
    assert refused(tarred(tmp_path / "data.tar", (info, b""))).found == "the member 'users.jsonl' is a link or a device"


def test_a_tree_too_deep_to_be_removed_again(tmp_path: Path, temporary: Path) -> None:
    error = refused(zipped(tmp_path / "deep.zip", ("d/" * 1_000 + "faq.jsonl", ROWS.encode())))
    assert error.found.endswith("lies over 100 folders deep")


def test_links_of_a_zip(tmp_path: Path, temporary: Path) -> None:
    info = zipfile.ZipInfo("users.jsonl")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert refused(zipped(tmp_path / "data.zip", (info, b"/etc/passwd"))).found == "the member 'users.jsonl' is a link or a device"


def test_members_under_a_password_are_named(tmp_path: Path, temporary: Path) -> None:
    content = bytearray(zipped(tmp_path / "data.zip", ("faq.jsonl", ROWS.encode())).read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # zipfile cannot encrypt: set the bit that says so
        content[content.index(mark) + flags] |= 1
    (tmp_path / "data.zip").write_bytes(content)
    assert refused(tmp_path / "data.zip").found == "the member 'faq.jsonl' is protected by a password"


@pytest.mark.parametrize(("archive", "pack"), [("bomb.zip", zipped), ("bomb.tar.gz", tarred)])
def test_bombs(tmp_path: Path, temporary: Path, archive: str, pack: Callable[..., Path]) -> None:
    """110 MiB of zeros in a tenth of a MiB."""
    file = pack(tmp_path / archive, ("zeros.txt", bytes(110 * 2**20)))
    assert "packed bytes unpack to over" in refused(file).found
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_bomb_that_lies_about_its_size(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that declares ten bytes gives no more than ten, whatever is behind them."""
    monkeypatch.setattr(streams, "FREE_BYTES", 10_000)
    content = bytearray(zipped(tmp_path / "lie.zip", ("zeros.txt", bytes(10_000_000))).read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 24 : central + 28] = (10).to_bytes(4, "little")
    (tmp_path / "lie.zip").write_bytes(content)
    error = refused(tmp_path / "lie.zip")
    assert error.place.startswith("lie.zip")
    assert sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file()) < 10_000


def test_a_compressed_file_that_grows_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 2_000_000)
    (tmp_path / "blank.jsonl.gz").write_bytes(gzip.compress(ROWS.encode() + b"\n" * 10_000_000))
    assert "packed bytes unpack to over" in refused(tmp_path / "blank.jsonl.gz").found


def test_more_than_there_is_room_for(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_TOTAL", 100)
    member = json.dumps({"question": "x" * 40, "answer": "y"}).encode()
    for name, pack in (("many.zip", zipped), ("many.tar", tarred)):
        error = refused(pack(tmp_path / name, ("a.jsonl", member), ("b.jsonl", member), ("c.jsonl", member)))
        assert error.found == "it unpacks to over 100 bytes"
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    assert refused(tmp_path / "many.zip").found == "over 2 members"


def test_two_members_of_one_name(tmp_path: Path, temporary: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = zipped(tmp_path / "data.zip", ("a.jsonl", ROWS.encode()), ("a.jsonl", ROWS.encode()))
    assert refused(file).found == "two members have one name"


@pytest.mark.parametrize(("archive", "pack"), [("data.zip", zipped), ("data.tar.gz", tarred), ("data.tar", tarred)])
def test_damaged_archives(tmp_path: Path, temporary: Path, archive: str, pack: Callable[..., Path]) -> None:
    content = bytes(range(256)).hex().encode() * 40
    whole = pack(tmp_path / archive, ("a.txt", content)).read_bytes()
    (tmp_path / archive).write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path / archive).place == archive
    (tmp_path / archive).write_bytes(b"no archive at all")
    assert refused(tmp_path / archive).found.startswith("it cannot be read (")


def test_an_archive_without_anything_to_read(tmp_path: Path, temporary: Path) -> None:
    assert refused(zipped(tmp_path / "empty.zip")).found == "there is no file in it"
    assert places(zipped(tmp_path / "one.zip", ("a.jsonl", ROWS.encode()))) == ["one.zip/a.jsonl:1", "one.zip/a.jsonl:2"]
