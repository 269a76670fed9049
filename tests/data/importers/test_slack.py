"""A Slack export becomes conversations in which nobody can be recognised."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.config import PrepareConfig
from tunesmith.data import recognise
from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.data.importers.slack_markup import People
from tunesmith.errors import DataError

USERS = [
    {"id": "U1", "name": "anna.ax", "real_name": "Anna Ax", "profile": {"email": "anna@ax.org", "display_name": "annie"}},
    {"id": "U2", "name": "bmeyer", "real_name": "Bob Meyer", "profile": {"email": "bob@ax.org", "first_name": "Bob", "last_name": "Meyer"}},
    {"id": "U3", "name": "carla", "real_name": "Carla Cruz", "profile": {"email": "carla@ax.org"}},
    {"id": "U4", "name": "deploybot", "is_bot": True, "profile": {}},
]
NOON = 1_704_456_000


def said(user: str, minute: float, text: str, **more: object) -> dict[str, object]:
    return {"type": "message", "user": user, "ts": f"{NOON + minute * 60:.6f}", "text": text, **more}


def write_export(root: Path, days: dict[str, list[object]], **lists: object) -> Path:
    files = {"users.json": USERS, "channels.json": [{"id": "C1", "name": "help"}], **{f"{name}.json": one for name, one in lists.items()}}
    for name, content in (files | days).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    return root


def read(root: Path, tally: Tally | None = None) -> list[tuple[list[str], str]]:
    rows = list(IMPORTERS["slack"].read(root, "export", tally=tally))
    assert all(row.group == row.source for row in rows)
    return [([f"{one['role']}: {one['content']}" for one in row.values["messages"]], row.source) for row in rows]


def test_threads_and_talk_become_conversations(tmp_path: Path) -> None:
    thread = f"{NOON:.6f}"
    export = write_export(
        tmp_path,
        {
            "help/2024-01-05.json": [
                said("U2", 5, "Which OS?", thread_ts=thread),
                said("U1", 0, "VPN fails &amp; nobody answers", thread_ts=thread, latest_reply=f"{NOON + 86400:.6f}", reply_count=3),
                {"type": "message", "subtype": "channel_join", "user": "U3", "ts": f"{NOON}.1", "text": "<@U3> has joined"},
                said("U4", 6, "build 17 passed", bot_id="B1"),
                said("U1", 7, "Linux", thread_ts=thread),
                said("U3", 10, "Where is the menu?"),
                said("U1", 12, "On <https://food.example/menu|the menu page>"),
                said("U1", 13, "It is in <#C1|help> as well, <!here>"),
                said("U2", 60, "Is the office open?"),
                said("U3", 61, "Yes."),
                said("U2", 62, "Thanks Carla!"),
            ],
            "help/2024-01-06.json": [said("U3", 1440, "Ask <@U2>, he knows: bob@ax.org", thread_ts=thread)],
        },
    )
    tally = Tally()
    assert read(export, tally) == [
        (
            ["user: Where is the menu?", "assistant: On the menu page (https://food.example/menu)\nIt is in #help as well, @here"],
            "export/help/2024-01-05.json#6",
        ),
        (
            ["user: VPN fails & nobody answers", "assistant: Which OS?", "user: Linux", "assistant: Ask user 2, he knows: user 2"],
            "export/help/2024-01-05.json#2",
        ),
        (["user: Is the office open?", "assistant: Yes."], "export/help/2024-01-05.json#9"),
    ]
    assert tally.note() == ("replaced 2 names by numbers; left out 1 system message, 1 message of a bot, 1 message after the last answer")


def test_private_channels_and_direct_messages_are_read_and_named_by_id(tmp_path: Path) -> None:
    talk = [said("U1", 0, "Q?"), said("U2", 1, "A.")]
    export = write_export(
        tmp_path / "inside" / "the folder",
        {
            "D1/2024-01-05.json": talk,
            "mpdm-anna.ax--bmeyer-1/2024-01-05.json": talk,
            "secret/2024-01-05.json": talk,
            "ask-carla/2024-01-05.json": talk,
        },
        groups=[{"id": "G1", "name": "secret"}, {"id": "G3", "name": "ask-carla"}],
        mpims=[{"id": "G2", "name": "mpdm-anna.ax--bmeyer-1"}],
        dms=[{"id": "D1", "members": ["U1", "U2"]}],
    )
    assert [source for _, source in read(export)] == [f"export/{name}/2024-01-05.json#1" for name in ("D1", "G3", "G2", "secret")]
    assert find_importer(tmp_path / "inside") is IMPORTERS["slack"]


def test_nothing_of_users_json_is_in_the_rows(tmp_path: Path) -> None:
    text = (
        "anna and BOB MEYER, Meyer's mail is bob@ax.org or Anna@AX.org; ask annie, anna.ax, <@U1|annie>, <mailto:carla@ax.org|carla@ax.org>"
    )
    export = write_export(tmp_path, {"help/2024-01-05.json": [said("U1", 0, text), said("U9", 1, "<@U9> here")]})
    rows = list(IMPORTERS["slack"].read(export, "export"))
    everything = json.dumps([row.values for row in rows]).casefold()
    assert not [name for name in ("anna", "annie", "bob", "meyer", "carla", "cruz", "ax.org") if name in everything]
    assert rows[0].values["messages"][1] == {"role": "assistant", "content": "user 4 here"}


def test_people_who_are_not_in_users_json_are_pseudonymised_all_the_same(tmp_path: Path) -> None:
    guest = {"real_name": "Zoe Zander", "display_name": "zozo", "name": "zoe.z", "first_name": "Zoe"}
    export = write_export(
        tmp_path,
        {
            "ask-zoe/2024-01-04.json": [said("U1", -1440, "Did Zoe call? And Quentin, annabell?"), said("U2", -1439, "zozo did, <@U9>")],
            "help/2024-01-05.json": [
                said("U9", 0, "Who has the key?", user_profile=guest),
                said("U1", 1, "Ask <@U8|quentin>, <@UB> and <@U7>", user_profile={"display_name": "annabell"}),
                said("UB", 2, "key given to Zander", bot_id="B7", bot_profile={"name": "Keybot"}),
                said("UC", 3, "I am no bot", user_profile={"display_name": "Walther"}),
                said("UC", 4, "posted by an app of mine", bot_id="B8"),
            ],
        },
    )
    tally = Tally()
    rows = read(export, tally)
    assert rows == [
        (["user: Did user 4 call? And user 5, user 1?", "assistant: user 4 did, user 4"], "export/channel 1/2024-01-04.json#1"),
        (["user: Who has the key?", "assistant: Ask user 5, @bot and user 6\nI am no bot"], "export/help/2024-01-05.json#1"),
    ]
    assert tally.note() == (
        "4 people not in users.json numbered after the others, 1 without a name to look for in what is said; replaced 4 names by numbers; "
        "left out 2 messages of bots"
    )
    assert read(export) == rows


def test_everyday_words_stay_unless_capitalised() -> None:
    people = People([{"id": "U1", "name": "will", "real_name": "Will May"}])
    assert people.plain("will it work? It may. Ask Will, or Will May") == "will it work? It may. Ask user 1, or user 1"


def test_escaped_marks_are_text() -> None:
    assert People([]).plain("type &lt;@U1&gt; &amp;amp; <!subteam^S1|@ops> <!date^1^{date}|5 January> <tel:123|123> <#C7> <broken") == (
        "type <@U1> &amp; @ops 5 January 123 #channel <broken"
    )


def test_a_thread_is_given_when_its_last_reply_is_read(tmp_path: Path) -> None:
    first, second = f"{NOON:.6f}", f"{NOON + 3600:.6f}"
    export = write_export(
        tmp_path,
        {
            "help/2024-01-05.json": [
                said("U1", 0, "One?", thread_ts=first, latest_reply=f"{NOON + 2 * 86400:.6f}"),
                said("U1", 60, "Two?", thread_ts=second, latest_reply=f"{NOON + 3660:.6f}"),
                said("U2", 61, "Two.", thread_ts=second),
            ],
            "help/2024-01-07.json": [said("U2", 2880, "One.", thread_ts=first)],
        },
    )
    assert [lines[0] for lines, _ in read(export)] == ["user: Two?", "user: One?"]


def test_rows_are_recognised_as_conversations(tmp_path: Path) -> None:
    export = write_export(tmp_path, {"help/2024-01-05.json": [said("U1", 0, "Q?"), said("U2", 1, "A.")]})
    assert recognise(list(IMPORTERS["slack"].read(export, "export")), PrepareConfig()).kind == "messages"


def test_a_broken_day_is_named(tmp_path: Path) -> None:
    export = write_export(tmp_path, {"help/2024-01-05.json": [said("U1", 0, "Q?")]})
    (export / "help" / "2024-01-05.json").write_text('[{"a": ')
    with pytest.raises(DataError, match=r"export/help/2024-01-05.json: broken JSON"):
        read(export)


def test_a_folder_of_json_files_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text("[]")
    (tmp_path / "channels.json").write_text("[]")
    assert find_importer(tmp_path) is None
    with pytest.raises(DataError, match="no Slack export"):
        read(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["user", "text", "ts", "thread_ts", "subtype", "latest_reply"]), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(records=json_values)
def test_odd_records_never_break_the_reading(records: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    export = write_export(tmp_path_factory.mktemp("slack"), {"help/2024-01-05.json": [said("U1", 0, "Q?")]})
    (export / "help" / "2024-01-05.json").write_text(json.dumps(records), encoding="utf-8")
    with contextlib.suppress(DataError):
        read(export)


@settings(deadline=None)
@given(text=st.text(alphabet="<>@#!|&;U1 annaAx", max_size=60))
def test_any_markup_is_read_and_names_nobody(text: str) -> None:
    plain = People(USERS).plain(text)
    assert "anna" not in plain.casefold().split()
