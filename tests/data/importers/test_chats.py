"""Chats as JSON: what was shown last, nothing of tools, and every form of ShareGPT."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.errors import DataError


def node(role: str, *parts: object, parent: str | None = None, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "parent": parent,
        "children": [],
        "message": {"author": {"role": role}, "content": {"content_type": kind, "parts": list(parts)}, **more},
    }


CHATGPT = [
    {
        "title": "Tea",
        "create_time": 1704153600.0,
        "mapping": {
            "root": {"message": None, "parent": None, "children": ["s"]},
            "s": node("system", "", parent="root"),
            "c": node("user", "About me", parent="s", metadata={"is_visually_hidden_from_conversation": True}),
            "q": node("user", {"content_type": "image_asset_pointer"}, "What tea?", parent="c", kind="multimodal_text"),
            "old": node("assistant", "Coffee.", parent="q"),
            "call": node("assistant", "search('tea')", parent="q", recipient="browser"),
            "tool": node("tool", "results", parent="call"),
            "new": node("assistant", "Green tea.", parent="tool"),
        },
        "current_node": "new",
    }
]
CLAUDE = [{"uuid": "1", "chat_messages": [{"sender": "human", "text": "Hi?"}, {"sender": "assistant", "text": "Hello."}]}]
SHAREGPT = [
    {"id": "a", "items": [{"from": "human", "value": "Q?"}, {"from": "chatgpt", "value": "A."}]},
    {"conversation": [{"human": "Q?", "assistant": "A."}, {"human": "Q2?", "assistant": "A2."}]},
    {
        "dialogue": [
            {"role": "system", "content": "Be kind."},
            {"role": "bot", "text": "Welcome"},
            {"speaker": "customer", "text": "Q?"},
            {"role": "bot", "text": "A."},
        ]
    },
]
DISCORD = {
    "guild": {"name": "Acme"},
    "channel": {"name": "help"},
    "messages": [
        {"type": "GuildMemberJoin", "timestamp": "2024-01-05T15:00:00+00:00", "content": "Joined", "author": {"name": "anna"}},
        {"type": "Default", "timestamp": "2024-01-05T15:04:00.123+00:00", "content": "Q?", "author": {"name": "anna"}},
        {"type": "Reply", "timestamp": "2024-01-05T15:05:00+00:00", "content": "A.", "author": {"name": "Acme Support"}},
        {"type": "Default", "timestamp": "2024-01-06T15:05:00+00:00", "content": "Q2?", "author": {"name": "anna"}},
        {"type": "Default", "timestamp": "2024-01-06T15:06:00+00:00", "content": "A2.", "author": {"name": "Acme Support"}},
    ],
}


def read(folder: Path, document: object, tally: Tally | None = None) -> list[tuple[list[str], str]]:
    file = folder / "chat.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    rows = IMPORTERS["chat"].read(file, "chat.json", tally=tally)
    return [([f"{one['role']}: {one['content']}" for one in row.values["messages"]], row.source) for row in rows]


def test_chatgpt_gives_the_path_that_was_shown_last(tmp_path: Path) -> None:
    tally = Tally()
    assert read(tmp_path, CHATGPT, tally) == [(["user: What tea?", "assistant: Green tea."], "chat.json#1")]
    assert tally.note() == (
        "left out 1 message of another branch, 3 messages of tools or hidden from people, 1 picture or other attachment"
    )


def test_without_a_current_node_the_last_leaf_counts(tmp_path: Path) -> None:
    document = json.loads(json.dumps(CHATGPT))
    del document[0]["current_node"]
    document[0]["mapping"]["q"]["children"] = ["old"]
    assert read(tmp_path, document)[0][0][-1] == "assistant: Green tea."


def test_a_circle_of_parents_ends(tmp_path: Path) -> None:
    document = json.loads(json.dumps(CHATGPT))
    document[0]["mapping"]["root"]["parent"] = "new"
    assert len(read(tmp_path, document)) == 1


def test_claude_and_the_forms_of_sharegpt(tmp_path: Path) -> None:
    assert read(tmp_path, CLAUDE) == [(["user: Hi?", "assistant: Hello."], "chat.json#1")]
    tally = Tally()
    assert read(tmp_path, SHAREGPT, tally) == [
        (["user: Q?", "assistant: A."], "chat.json#1"),
        (["user: Q?", "assistant: A.", "user: Q2?", "assistant: A2."], "chat.json#2"),
        (["system: Be kind.", "user: Q?", "assistant: A."], "chat.json#3"),
    ]
    assert tally.note() == "left out 1 message before the first question"


def test_discord_as_json(tmp_path: Path) -> None:
    assert read(tmp_path, DISCORD) == [(["user: Q?", "assistant: A."], "chat.json#2"), (["user: Q2?", "assistant: A2."], "chat.json#4")]


def test_an_unknown_role_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"chat.json#1: the speaker 'narrator' is no known role"):
        read(tmp_path, [{"items": [{"from": "narrator", "value": "Q?"}]}])


def test_tables_are_left_to_the_readers(tmp_path: Path) -> None:
    usual = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]
    cases: list[tuple[object, str | None]] = [
        (CHATGPT, "chat"),
        (CLAUDE, "chat"),
        (SHAREGPT, "chat"),
        (DISCORD, "chat"),
        ([{"conversations": usual}], None),
        ([{"messages": [{"role": "user", "content": "Q?"}]}], None),
        ([{"question": "Q?", "answer": "A.", "items": [1, 2]}], None),
        ({"data": [{"mapping": {"a": 1}}]}, None),
    ]
    for document, expected in cases:
        file = tmp_path / "chat.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        importer = find_importer(file)
        assert (importer.name if importer else None) == expected, document


def test_an_unpacked_export_is_found_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "conversations.json").write_text(json.dumps(CHATGPT), encoding="utf-8")
    (tmp_path / "chat.html").write_text("<html></html>", encoding="utf-8")
    importer = find_importer(tmp_path)
    assert importer is IMPORTERS["chat"]
    assert [row.source for row in importer.read(tmp_path, "export")] == ["export/conversations.json#1"]


KEYS = st.sampled_from(
    ["mapping", "current_node", "message", "parent", "author", "role", "content", "parts", "items", "from", "value", "guild", "messages"]
)
json_values = st.recursive(
    st.none() | st.integers() | st.sampled_from(["a", "user", "assistant", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@settings(deadline=None)
@given(document=json_values)
def test_any_document_is_read_or_refused(document: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    with contextlib.suppress(DataError):
        read(tmp_path_factory.mktemp("chat"), document)
