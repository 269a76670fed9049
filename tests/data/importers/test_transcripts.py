"""Chats as text become conversations, or are refused with the speakers that were seen."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.data.importers.dates import seconds_of
from tunesmith.errors import DataError

ANDROID = """\
12/31/23, 10:15 PM - Messages and calls are end-to-end encrypted. No one outside of this chat can read them.
12/31/23, 10:15 PM - Anna: Do you ship abroad?
I live in Norway: Oslo
12/31/23, 10:16 PM - Anna: <Media omitted>
12/31/23, 10:17\u202fPM - Acme Support: Yes, to forty countries.
12/31/23, 10:17 PM - Acme Support: Norway too. <This message was edited>
12/31/23, 10:18 PM - Anna: Thanks!
1/1/24, 9:00 AM - Anna: What does it cost?
1/1/24, 9:01 AM - Acme Support: Ten crowns.
"""
IOS = """\
[31.12.23, 22:15:30] Support: \u200eMessages and calls are end-to-end encrypted.
[31.12.23, 22:15:30] Anna: Hallo?
\u200e[31.12.23, 22:15:31] Anna: \u200eBild weggelassen
[31.12.23, 22:16:00] ~\u202fSupport: Guten Abend!
[31.12.23, 22:17:00] Anna: This message was deleted
"""
DISCORD = """\
==============================================================
Guild: Acme
Channel: Text / help
==============================================================

[1/5/2024 3:04 PM] anna
Does it run on Linux?

[05-Jan-24 03:05 PM] HelperBot (pinned)
Yes:

    make install

{Attachments}
https://cdn.example/x.png

{Reactions}
(2)

[1/5/2024 3:06 PM] bob
Joined the server.

==============================================================
Exported 3 message(s)
==============================================================
"""
PLAIN = """\
Customer: My order is late.
Note: number 17.
Agent: I am sorry.

It arrives today.
Customer: Good.
Agent: Anything else?
---
Customer: Hi
Agent: Hello.
"""


def read(folder: Path, text: str, tally: Tally | None = None, **options: str) -> list[tuple[list[str], str]]:
    file = folder / "chat.txt"
    file.write_text(text, encoding="utf-8")
    rows = IMPORTERS["transcript"].read(file, "chat.txt", tally=tally, **options)
    return [([f"{one['role']}: {one['content']}" for one in row.values["messages"]], row.source) for row in rows]


def test_whatsapp_from_android(tmp_path: Path) -> None:
    tally = Tally()
    assert read(tmp_path, ANDROID, tally) == [
        (["user: Do you ship abroad?\nI live in Norway: Oslo", "assistant: Yes, to forty countries.\nNorway too."], "chat.txt:2"),
        (["user: What does it cost?", "assistant: Ten crowns."], "chat.txt:8"),
    ]
    assert tally.note() == (
        "Acme Support taken for the assistant; left out 1 system message, 1 message without text, 1 message after the last answer"
    )


def test_whatsapp_from_an_iphone_in_german(tmp_path: Path) -> None:
    assert read(tmp_path, IOS) == [(["user: Hallo?", "assistant: Guten Abend!"], "chat.txt:2")]


@pytest.mark.parametrize(
    "stamp",
    [
        "31/12/2023, 22:15 - ",
        "31.12.23, 22:15 - ",
        "2023-12-31, 22:15 - ",
        "[2023/12/31 10:15:30 p.m.] ",
        "[10:15] ",
        "2023/12/31 22:15 \u2013 ",
    ],
)
def test_stamps_of_many_regions(tmp_path: Path, stamp: str) -> None:
    assert read(tmp_path, f"{stamp}Anna: Q?\n{stamp}Bot: A.\n") == [(["user: Q?", "assistant: A."], "chat.txt:1")]


def test_discord_as_text(tmp_path: Path) -> None:
    assert read(tmp_path, DISCORD) == [(["user: Does it run on Linux?", "assistant: Yes:\n\n    make install"], "chat.txt:6")]


def test_names_and_colons(tmp_path: Path) -> None:
    assert read(tmp_path, PLAIN) == [
        (
            [
                "user: My order is late.\nNote: number 17.",
                "assistant: I am sorry.\n\nIt arrives today.",
                "user: Good.",
                "assistant: Anything else?",
            ],
            "chat.txt:1",
        ),
        (["user: Hi", "assistant: Hello."], "chat.txt:9"),
    ]


def test_bold_names(tmp_path: Path) -> None:
    assert read(tmp_path, "**User:** Hi\n**Assistant**: Hello.") == [(["user: Hi", "assistant: Hello."], "chat.txt:1")]


def test_the_user_names_the_assistant(tmp_path: Path) -> None:
    chat = "Anna: One?\nBob: 1\nAnna: Two?\nBob: 2\nCarl: or so\n"
    with pytest.raises(DataError, match=r"cannot be told: Anna \(2\), Bob \(2\).*--assistant NAME"):
        read(tmp_path, chat)
    with pytest.raises(DataError, match=r"nobody is called 'Dora'; the speakers are Anna \(2\), Bob \(2\)"):
        read(tmp_path, chat, assistant="Dora")
    expected = ["user: One?", "assistant: 1", "user: Two?", "assistant: 2\nor so"]
    assert read(tmp_path, chat, assistant="bob, Carl") == [(expected, "chat.txt:1")]


@pytest.mark.parametrize(
    "text", ["Once upon a time: a story.\nIt ended: well.", "Agent: I talk.\nAgent: Alone.", "https://a.example\nnothing"]
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="no two speakers"):
        read(tmp_path, text)


def test_what_is_recognised(tmp_path: Path) -> None:
    play = "HAMLET: To be?\nOPHELIA: My lord.\n" * 20
    log = "[2024-01-05 10:15:30] production.ERROR: failed\n[2024-01-05 10:15:31] production.INFO: restarted\n"
    recipe = "Salt: a pinch\nSupport: a fork\nWater: much\n"
    for name, text, expected in [
        ("a.txt", ANDROID, "transcript"),
        ("b.txt", IOS, "transcript"),
        ("c.txt", DISCORD, "transcript"),
        ("d.txt", "Customer: Hi\nAgent: Hello.\n" * 3, "transcript"),
        ("e.txt", play, None),
        ("f.txt", log, None),
        ("g.txt", recipe, None),
        ("h.csv", ANDROID, None),
        ("i.txt", "A book.\n\nChapter 1: It begins.\n" + "It goes on.\n" * 50, None),
    ]:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        importer = find_importer(file)
        assert (importer.name if importer else None) == expected, name


def test_a_folder_as_whatsapp_zips_it(tmp_path: Path) -> None:
    (tmp_path / "_chat.txt").write_text(IOS, encoding="utf-8")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    importer = find_importer(tmp_path)
    assert importer is IMPORTERS["transcript"]
    assert [row.source for row in importer.read(tmp_path, "chat.zip")] == ["chat.zip:2"]


def test_the_order_of_day_and_month_is_found_out() -> None:
    day = 86400
    first, second, third = seconds_of(["1/2/24, 10:00 AM", "2/2/24, 10:00 AM", "13/2/24, 10:00 PM"])
    assert first is not None
    assert second == first + day
    assert third == first + 12 * day + 12 * 3600
    assert seconds_of(["1/2/24", "1/13/24"]) == [1704153600.0, 1705104000.0]
    assert seconds_of(["2/1/24", "1/12/24"]) == [1704153600.0, 1701388800.0 + 366 * day]  # else time would run backward
    assert seconds_of(["1704153600", "2024-01-02T00:00:00Z", "2 Jan 2024", "Tue Jan 02 00:00:00 +0000 2024", "yesterday"]) == [
        *[1704153600.0] * 4,
        None,
    ]


@settings(deadline=None)
@given(text=st.text() | st.text(alphabet="AB: -[]/,.0123456789\nPM{}=<>*", min_size=10, max_size=200), name=st.none() | st.text(max_size=3))
def test_any_text_is_read_or_refused(text: str, name: str | None, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("chat") / "chat.txt"
    file.write_text(text, encoding="utf-8")
    with contextlib.suppress(DataError):
        for row in IMPORTERS["transcript"].read(file, "chat.txt", assistant=name):
            messages = row.values["messages"]
            assert [one["role"] for one in messages] == ["user", "assistant"] * (len(messages) // 2)
