"""Whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from tunesmith.files import (
    append_json_lines,
    atomic_directory,
    file_sha256,
    read_json_lines,
    remove_leftovers,
    write_json,
    write_json_lines,
    write_text,
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_text_is_utf8_with_unix_line_ends_and_replaces_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "one")
    write_text(file, "zwölf\r\n日本\n")
    assert file.read_bytes() == "zwölf\r\n日本\n".encode()
    assert names(tmp_path) == ["a.txt"]


def test_the_checksum_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a.bin").write_bytes(content)
    assert file_sha256(tmp_path / "a.bin") == hashlib.sha256(content).hexdigest()


def test_json_is_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "zwölf", "steps": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "zwölf",\n  "steps": [\n    1\n  ]\n}\n'


def test_what_cannot_be_written_leaves_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"good": 1})
    with pytest.raises(TypeError):
        write_json(file, {"bad": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\ud800")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(file, {"better": 2})
    assert json.loads(file.read_text(encoding="utf-8")) == {"good": 1}
    assert names(tmp_path) == ["a.json"]


def test_json_lines_come_back(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    records = [{"text": "one\ntwo\u2028three"}, {"text": "日本"}, {}]
    write_json_lines(file, records)
    assert read_json_lines(file) == records
    write_json_lines(file, [])
    assert read_json_lines(file) == []


@pytest.mark.parametrize("torn", [b'{"step": 3', b'{"step": 3}', b'{"text": "\xe6\x97'])
def test_a_torn_last_line_is_left_out(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    assert read_json_lines(file) == [{"step": 1}, {"step": 2}]


def test_a_broken_line_elsewhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"step": 1\n{"step": 2}\n')
    with pytest.raises(json.JSONDecodeError):
        read_json_lines(tmp_path / "a.jsonl")


class TestAtomicDirectory:
    def test_appears_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "step-1"
        with atomic_directory(target) as staging:
            (staging / "sub").mkdir()
            (staging / "sub" / "a").write_text("x", encoding="utf-8")
            assert not target.exists()
            assert staging.parent == target.parent
        assert (target / "sub" / "a").read_text(encoding="utf-8") == "x"
        assert names(target.parent) == ["step-1"]

    def test_vanishes_on_failure(self, tmp_path: Path) -> None:
        def fail() -> None:
            with atomic_directory(tmp_path / "step-1") as staging:
                (staging / "a").write_text("x", encoding="utf-8")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert names(tmp_path) == []

    def test_never_overwrites(self, tmp_path: Path) -> None:
        (tmp_path / "step-1").mkdir()
        with pytest.raises(FileExistsError), atomic_directory(tmp_path / "step-1"):
            pass
        assert names(tmp_path) == ["step-1"]

    def test_takes_over_what_a_dead_process_of_the_same_number_left(self, tmp_path: Path) -> None:
        leftover = tmp_path / f".step-1.partial-{os.getpid()}"
        leftover.mkdir()
        (leftover / "old").write_text("x", encoding="utf-8")
        with atomic_directory(tmp_path / "step-1") as staging:
            (staging / "new").write_text("x", encoding="utf-8")
        assert names(tmp_path / "step-1") == ["new"]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".step-1.partial-77").mkdir()
    (tmp_path / ".step-1.partial-77" / "a").write_text("x", encoding="utf-8")
    (tmp_path / ".run.json.partial-78").write_text("x", encoding="utf-8")
    (tmp_path / "step-1").mkdir()
    (tmp_path / ".hidden").write_text("x", encoding="utf-8")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "step-1"]
    remove_leftovers(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", []),
        (b'{"a": 1}\n', [{"a": 1}]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'{"a": 1}\n{"a": 2', [{"a": 1}]),
        (b'{"a": 1}\n\xff', [{"a": 1}]),
    ],
)
def test_lines_are_appended_after_the_last_whole_one(tmp_path: Path, before: bytes, kept: list[dict[str, int]]) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(before)
    append_json_lines(file, [{"a": "é"}, {"a": 4}])
    assert read_json_lines(file) == [*kept, {"a": "é"}, {"a": 4}]
