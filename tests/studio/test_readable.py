"""JSON of any making: a value of the right type, or the reason why not."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.studio.readable import Unreadable, find, items, mapping, number, parse, read_object, text, whole

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ":a", ""]), inner, max_size=3),
)


@given(ANYTHING, st.lists(st.sampled_from(["a", "b", ":a", ""]), max_size=3))
def test_whatever_it_is_the_type_is_right(value: Any, keys: list[str]) -> None:
    found = number(value, *keys)
    assert found is None or (isinstance(found, float) and abs(found) < float("inf"))
    assert whole(value, *keys) is None or isinstance(whole(value, *keys), int)
    assert text(value, *keys) is None or isinstance(text(value, *keys), str)
    assert isinstance(items(value, *keys), list)
    assert isinstance(mapping(value, *keys), dict)
    find(value, *keys)


@given(ANYTHING, st.booleans())
def test_it_is_read_as_python_reads_it(value: Any, in_ascii: bool) -> None:
    content = json.dumps(value, ensure_ascii=in_ascii).encode("utf-8", "surrogatepass")
    assert repr(_small(parse(content))) == repr(_small(json.loads(content)))


def _small(value: Any) -> Any:
    """Whole numbers of more than 64 bits may be read as floating-point ones."""
    if isinstance(value, list):
        return [_small(one) for one in value]
    if isinstance(value, dict):
        return {key: _small(one) for key, one in value.items()}
    return float(value) if isinstance(value, int) and value.bit_length() > 63 else value


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"NaN", math.nan), (b"[-Infinity]", [-math.inf]), (b'"\\ud800"', "\ud800"), (b"\xef\xbb\xbf{}", {}), (b"9" * 400, int("9" * 400))],
)
def test_what_the_standard_forbids_and_python_writes_is_read(content: bytes, found: object) -> None:
    assert repr(parse(content)) == repr(found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "no JSON object"),
        (b"NaN", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_what_is_no_object_is_said(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        read_object(file)


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(Unreadable, match="no file"):
        read_object(tmp_path / "run.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    with pytest.raises(Unreadable, match="no file"):
        read_object(tmp_path / "endless.json")


def test_an_absent_and_a_large_file(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        read_object(tmp_path / "none.json")
    (tmp_path / "large.json").write_text('{"a": "' + "x" * 200 + '"}')
    with pytest.raises(Unreadable, match="more than the 100 that are read"):
        read_object(tmp_path / "large.json", most_bytes=100)


def test_numbers_that_are_none() -> None:
    for value in (True, float("nan"), float("inf"), 10**400, "1", None, [], {}):
        assert number({"a": value}, "a") is None
    assert number({"a": 2}, "a") == 2.0
    assert whole({"a": 2.5}, "a") is None


def test_control_characters_do_not_reach_a_page() -> None:
    assert text({"a": "x\x1b[2J\ud800y\n"}, "a") == "x\ufffd[2J\ufffdy\n"
    assert text({"a": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"}, "a") == "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert len(text({"a": "x" * 50_000}, "a") or "") == 10_001
