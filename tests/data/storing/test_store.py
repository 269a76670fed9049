"""Examples in a file are a sequence like any other, in any process, until the file changes."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import qa, raw
from tunesmith.data.storing.store import CHUNK_BYTES, StoredExamples, example_to_record, open_examples, to_line, write_lines
from tunesmith.errors import DataError
from tunesmith.types import Example


def written(path: Path, examples: list[Example]) -> StoredExamples:
    path.unlink(missing_ok=True)
    digest = write_lines(path, (to_line(example_to_record(one)) for one in examples))
    stored, found = open_examples(path)
    assert digest == found
    return stored


def numbered(count: int) -> list[Example]:
    return [qa(f"q{number}\u2028?", f"a\n{number}", source=f"faq.csv:{number}") for number in range(count)]


def test_a_sequence_like_any_other(tmp_path: Path) -> None:
    examples = numbered(3000)
    stored = written(tmp_path / "a.jsonl", examples)
    assert len(stored) == 3000
    assert list(stored) == examples
    assert stored == examples
    assert stored == tuple(examples)
    assert stored != examples[:-1]
    assert (stored[0], stored[-1], stored[1500]) == (examples[0], examples[-1], examples[1500])
    assert list(stored[-5:]) == examples[-5:]
    assert list(stored[::-700]) == examples[::-700]
    assert isinstance(stored[:3], StoredExamples)
    assert examples[7] in stored
    with pytest.raises(IndexError):
        stored[3000]
    with pytest.raises(TypeError, match="unhashable"):
        hash(stored)
    assert repr(stored[:3]) == "<3 examples of a.jsonl>"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20), st.data())
def test_any_selection_in_any_order(tmp_path: Path, texts: list[str], data: st.DataObject) -> None:
    examples = [raw(f"x{text}", f"a:{number}") for number, text in enumerate(texts)]
    stored = written(tmp_path / "a.jsonl", examples)
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=20)) if texts else []
    assert list(stored.select(np.array(chosen, np.int64))) == [examples[i] for i in chosen]


def test_lines_longer_than_a_chunk_and_far_apart(tmp_path: Path) -> None:
    examples = [raw("x" * CHUNK_BYTES * 2, "a:1"), raw("small", "a:2"), raw("y" * CHUNK_BYTES * 4, "a:3"), raw("last", "a:4")]
    stored = written(tmp_path / "a.jsonl", examples)
    assert list(stored) == examples
    assert list(stored.select(np.array([3, 1, 0]))) == [examples[3], examples[1], examples[0]]


def test_an_empty_file(tmp_path: Path) -> None:
    stored = written(tmp_path / "a.jsonl", [])
    assert (len(stored), list(stored), stored == []) == (0, [], True)
    assert len(stored.select(np.zeros(0, np.int64))) == 0


def test_travels_to_another_process_small(tmp_path: Path) -> None:
    stored = written(tmp_path / "a.jsonl", numbered(100))
    assert stored[3].source == "faq.csv:3"  # the file is open now
    parcel = pickle.dumps(stored)
    assert len(parcel) < 100 * 20 + 1000
    assert pickle.loads(parcel) == stored


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_processes_do_not_move_each_others_place(tmp_path: Path) -> None:
    examples = numbered(2000)
    stored = written(tmp_path / "a.jsonl", examples)
    assert stored[0] == examples[0]
    child = os.fork()
    if child == 0:
        right = all(stored[i] == examples[i] for i in range(0, 2000, 2))
        os._exit(0 if right else 1)
    assert all(stored[i] == examples[i] for i in range(1, 2000, 2))
    assert os.waitpid(child, 0)[1] == 0


def test_a_file_that_changed_or_is_gone_is_refused(tmp_path: Path) -> None:
    stored = written(tmp_path / "a.jsonl", numbered(3))
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"a\.jsonl: it was changed after it was checked"):
        list(stored)
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be opened any more"):
        stored[0]


def test_lets_go_of_the_file(tmp_path: Path) -> None:
    stored = written(tmp_path / "a.jsonl", numbered(3))
    assert stored[0].source == "faq.csv:0"
    stored.close()
    if sys.platform == "linux":
        open_files = {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
        assert tmp_path / "a.jsonl" not in open_files
    assert stored[1].source == "faq.csv:1"


def test_a_read_that_gives_less_than_asked_for_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux hands out 2 GiB at a time at most."""
    examples = numbered(40)
    stored = written(tmp_path / "a.jsonl", examples)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, start: real(file, min(size, 7), start))
    assert list(stored) == examples
    assert stored[3] == examples[3]


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path: Path) -> None:
    stored = written(tmp_path / "a.jsonl", numbered(40))
    assert stored[0].prompt.startswith("q0")
    os.truncate(stored.path, 1000)
    with pytest.raises(DataError, match="it was changed after it was checked"):
        list(stored)


def test_long_lines_are_not_in_memory_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [raw("x" * 10_000, source=f"a:{number}") for number in range(50)]
    stored = written(tmp_path / "a.jsonl", examples)
    monkeypatch.setattr("tunesmith.data.storing.store.MOST_AT_ONCE_BYTES", 30_000)
    real, sizes = os.pread, list[int]()

    def noted(file: int, size: int, start: int) -> bytes:
        sizes.append(size)
        return real(file, size, start)

    monkeypatch.setattr(os, "pread", noted)
    assert list(stored) == examples
    assert max(sizes) < 30_000
