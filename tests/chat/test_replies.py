"""Replies are read strictly."""

from __future__ import annotations

import pytest

from tunesmith.chat.replies import UnreadableReplyError, first_json, read_records, read_strings, read_verdict


def test_reading_replies() -> None:
    assert first_json('Sure: {"a": [1]} and [2]') == {"a": [1]}
    assert first_json("[x] then [1]") == [1]
    assert read_strings('{"prompts": ["a", " ", "b "]}') == ["a", "b"]
    assert read_records('{"pairs": [{"q": "a", "r": 1}]}', "q") == [{"q": "a"}]
    assert (read_verdict("**Yes**, it does"), read_verdict("No.")) == (True, False)
    for reply in ("nothing", '["a", 1]', "[" * 100_000):
        with pytest.raises(UnreadableReplyError):
            read_strings(reply)
    for reply in ('[{"q": ""}]', '[{"q": 1}]', "[1]", '[{"q": "a"}, {"r": "b"}]'):
        with pytest.raises(UnreadableReplyError):
            read_records(reply, "q")
    with pytest.raises(UnreadableReplyError):
        read_verdict("Perhaps")
