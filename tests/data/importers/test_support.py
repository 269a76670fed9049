"""Tables of customer support: messages of a ticket become a conversation, a row with its reply a pair."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.importers import IMPORTERS, Tally, find_importer
from tunesmith.errors import DataError

THREADS = """\
Ticket ID,Sender,Created At,Message,Internal
7,customer,2024-01-05 10:00,"My order is late.
Number 17.",no
8,customer,2024-01-05 10:01,Is it waterproof?,no
7,agent,2024-01-05 10:10,It arrives today.,no
7,customer,2024-01-05 10:05,Please hurry!,no
7,agent,2024-01-05 10:06,refund him if he calls,yes
8,agent,2024-01-05 10:30,"Yes, to ten metres.",no
9,customer,2024-01-05 11:00,Anybody?,no
,customer,2024-01-05 11:00,lost,no
"""
KAGGLE = """\
Ticket ID,Customer Name,Customer Email,Ticket Subject,Ticket Description,Ticket Status,Resolution
1,Anna Ax,anna@ax.org,Product setup,How do I set it up?,Closed,Press the button.
2,Bob,bob@ax.org,Refund,I want my money back.,Open,
"""
TWEETS = """\
tweet_id,author_id,inbound,created_at,text,response_tweet_id,in_response_to_tweet_id
3,acme,False,Tue Oct 31 22:12:00 +0000 2017,@115712 Restart it.,,2
2,115712,True,Tue Oct 31 22:11:00 +0000 2017,@acme it blinks,3,1
1,acme,False,Tue Oct 31 22:10:47 +0000 2017,How does it behave?,2,
5,acme,False,Tue Oct 31 23:10:47 +0000 2017,Soon.,,4
4,115713,True,Tue Oct 31 23:00:47 +0000 2017,When do you open?,5,99
"""


def read(
    folder: Path, text: str, tally: Tally | None = None, name: str = "tickets.csv", **options: str
) -> list[tuple[list[str], str, str | None]]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    rows = IMPORTERS["support"].read(file, name, tally=tally, **options)
    return [([f"{one['role']}: {one['content']}" for one in row.values["messages"]], row.source, row.group) for row in rows]


def test_messages_of_a_ticket_become_a_conversation(tmp_path: Path) -> None:
    tally = Tally()
    assert read(tmp_path, THREADS, tally) == [
        (["user: My order is late.\nNumber 17.\nPlease hurry!", "assistant: It arrives today."], "tickets.csv:2", "tickets.csv:2"),
        (["user: Is it waterproof?", "assistant: Yes, to ten metres."], "tickets.csv:4", "tickets.csv:4"),
    ]
    assert tally.note() == (
        "agent taken for the assistant; left out 1 internal note, 1 row without thread, speaker or text, 1 conversation without an answer"
    )


def test_a_row_may_be_a_whole_ticket(tmp_path: Path) -> None:
    file = tmp_path / "tickets.csv"
    file.write_text(KAGGLE, encoding="utf-8")
    tally = Tally()
    importer = find_importer(file)
    assert importer is IMPORTERS["support"]
    rows = list(importer.read(file, "tickets.csv", tally=tally))
    assert [row.values for row in rows] == [{"question": "Product setup\n\nHow do I set it up?", "answer": "Press the button."}]
    assert (rows[0].source, rows[0].group) == ("tickets.csv:2", "tickets.csv:1")
    assert tally.note() == "left out 1 ticket without a description or reply"


def test_tweets_tell_what_they_answer(tmp_path: Path) -> None:
    assert read(tmp_path, TWEETS, name="twcs.csv") == [
        (["user: @acme it blinks", "assistant: @115712 Restart it."], "twcs.csv:4", "twcs.csv:4"),
        (["user: When do you open?", "assistant: Soon."], "twcs.csv:6", "twcs.csv:6"),
    ]


def test_without_times_the_order_of_the_file_stays(tmp_path: Path) -> None:
    tally = Tally()
    text = "thread_id;from;text\n1;Anna;Q?\n1;Bob;A.\n"
    with pytest.raises(DataError, match=r"Anna \(1\), Bob \(1\).*--assistant"):
        read(tmp_path, text)
    assert read(tmp_path, text, tally, assistant="Bob")[0][0] == ["user: Q?", "assistant: A."]
    assert tally.note() == "messages in the order of the file, for not all have a time; Bob taken for the assistant"


def test_other_tables_are_not_taken(tmp_path: Path) -> None:
    for header, expected in [
        ("conversation_id,role,content", True),
        ("case number\tsender type\tbody", True),
        ("question,answer", False),
        ("ticket_id,sender,text,question,answer", False),
        ("id,title,body,answer", False),
        ("subject,message,response", False),
        ("text,label", False),
        ("from,to,text", False),
    ]:
        file = tmp_path / ("t.tsv" if "\t" in header else "t.csv")
        file.write_text(header + "\n1,2,3\n")
        assert (find_importer(file) is not None) == expected, header
    with pytest.raises(DataError, match=r"tickets.csv:1: the columns a, b are no support data"):
        read(tmp_path, "a,b\n1,2\n")


def test_tweets_in_a_circle_end(tmp_path: Path) -> None:
    text = "tweet_id,inbound,text,in_response_to_tweet_id\n1,True,Q?,2\n2,False,A.,1\n3,True,Q?,3\n"
    assert len(read(tmp_path, text)) <= 1


@pytest.mark.parametrize(
    ("table", "wide"), [(THREADS, "7,agent,2024-01-05 10:11,It, arrives,no\n"), (KAGGLE, "3,A,a@x,Help,Why, oh why,Closed,So.\n")]
)
def test_a_row_with_too_many_values_is_handed_on_as_such(table: str, wide: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table + wide, encoding="utf-8")
    rows = list(IMPORTERS["support"].read(tmp_path / "t.csv", "t.csv"))
    (faulty,) = [row for row in rows if row.fault is not None]
    assert faulty.source == f"t.csv:{table.count(chr(10)) + 1}"
    (tmp_path / "whole.csv").write_text(table, encoding="utf-8")
    whole = IMPORTERS["support"].read(tmp_path / "whole.csv", "t.csv")
    assert [row.values for row in rows if row.fault is None] == [row.values for row in whole]


@settings(deadline=None)
@given(body=st.text(alphabet='a,1;"\n\ttrue:-', max_size=120), header=st.sampled_from([THREADS, KAGGLE, TWEETS]))
def test_any_table_is_read_or_refused(header: str, body: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    for line in (header.split("\n", maxsplit=1)[0], header):
        file = tmp_path_factory.mktemp("support") / "t.csv"
        file.write_text(f"{line}\n{body}", encoding="utf-8")
        with contextlib.suppress(DataError):
            list(IMPORTERS["support"].read(file, "t.csv"))
