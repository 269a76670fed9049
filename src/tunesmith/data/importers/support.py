"""Customer support as CSV or TSV -> conversations, or question and answer.

    ticket_id,sender,created_at,message       rows of a ticket, in order of time, become one conversation
    Ticket Subject,Ticket Description,Resolution   a row is a ticket: subject and description are the question

Columns are found by their names, whatever their case and spacing. Who answers is told by words such as agent and customer, by a
yes-or-no column (`inbound`, `is_agent`), or by `--assistant`. Tweets tell by `in_response_to_tweet_id` what belongs together.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.data.importers.dates import seconds_of
from tunesmith.data.importers.record import Importer, Request, head_text, read_text
from tunesmith.data.importers.speakers import Utterance, conversations
from tunesmith.data.parsing.delimited import read_delimited
from tunesmith.errors import DataError
from tunesmith.types import Row

THREAD = (
    *(f"{what}_id" for what in ("ticket", "thread", "conversation", "case", "chat", "dialogue", "dialog", "session")),
    *("ticket", "ticket_number", "case_number", "ticket_no", "thread", "conversation", "case"),
)
ROLE = ("role", "sender_type", "author_type", "author_role", "user_type", "sender", "from", "author", "speaker", "direction")
FLAGS = {
    **dict.fromkeys(("inbound", "is_inbound", "incoming", "is_incoming", "from_customer", "is_customer"), "customer"),
    **dict.fromkeys(("outbound", "is_outbound", "outgoing", "is_outgoing", "from_agent", "is_agent", "is_staff"), "agent"),
}
"""Yes-or-no columns, and who wrote the message where they say yes."""
TEXT = ("message", "text", "body", "content", "message_text", "message_body", "comment", "plain_body", "utterance")
TIME = ("timestamp", "created_at", "sent_at", "date", "time", "datetime", "created", "message_time", "created_time")
SUBJECT = ("subject", "ticket_subject", "title")
ASKED = (
    "description",
    "ticket_description",
    "body",
    "issue",
    "problem",
    "customer_message",
    "customer_query",
    "query",
    "message",
    "inquiry",
)
REPLIED = ("resolution", "agent_reply", "reply", "agent_response", "support_reply", "answer", "ticket_resolution", "response", "solution")
CLEAR_REPLIED = frozenset({"resolution", "agent_reply", "reply", "agent_response", "support_reply", "ticket_resolution"})
PRIVATE = {"public": "no", "is_public": "no", "private": "yes", "is_private": "yes", "internal": "yes", "is_internal": "yes"}
"""Columns of internal notes, and what they say of one."""
REPLY_TO, TWEET = "in_response_to_tweet_id", "tweet_id"
PLAIN_PAIRS = ({"question", "answer"}, {"prompt", "completion"}, {"instruction", "output"}, {"instruction", "response"})
"""A table that has them needs no importer."""
YES, NO = frozenset({"true", "1", "yes", "y", "t"}), frozenset({"false", "0", "no", "n", "f"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """The columns of a file by their parts, as the file spells them."""

    names: Mapping[str, str]
    """Even spelling to the file's own."""

    def first(self, known: Iterable[str]) -> str | None:
        return next((self.names[name] for name in known if name in self.names), None)

    @property
    def thread(self) -> str | None:
        return self.names.get(REPLY_TO) if TWEET in self.names and REPLY_TO in self.names else self.first(THREAD)

    @property
    def speaker(self) -> str | None:
        """A yes-or-no column before one of names."""
        return self.first(("inbound", "outbound", "is_agent", "from_agent")) or self.first(ROLE) or self.first(FLAGS)

    @property
    def text(self) -> str | None:
        return self.first(TEXT)

    @property
    def is_threaded(self) -> bool:
        return None not in (self.thread, self.speaker, self.text)

    @property
    def is_ticket(self) -> bool:
        asked, replied = self.first(ASKED), self.first(REPLIED)
        return None not in (asked, replied) and asked != replied


def recognises(path: Path, head: bytes) -> bool:
    """A table with thread, speaker and text; or with description and reply beside a subject or a ticket's number."""
    if path.is_dir() or path.suffix.lower() not in {".csv", ".tsv"}:
        return False
    columns = _of(_header(head_text(head)))
    if any(columns.names.keys() >= pair for pair in PLAIN_PAIRS):
        return False
    replied = columns.first(REPLIED)
    is_ticket = columns.is_ticket and _even(replied or "") in CLEAR_REPLIED
    return columns.is_threaded or (is_ticket and (columns.first(SUBJECT) or columns.thread) is not None)


def _header(text: str) -> list[str]:
    first = next((line for line in text.split("\n") if line.strip()), "")
    return next(csv.reader([first[:10_000]], delimiter=_delimiter(first)), [])


def _delimiter(first_line: str) -> str:
    return max(",;\t", key=first_line.count)


def _of(header: Iterable[str]) -> _Columns:
    names: dict[str, str] = {}
    for name in header:
        names.setdefault(_even(name), name.strip())
    return _Columns(names=names)


def _even(name: str) -> str:
    """`Ticket ID` and `ticketId` as `ticket_id`."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).strip("_").casefold()


def rows(path: Path, request: Request) -> Iterator[Row]:
    """`tickets.csv:2` is the line on which the conversation's first message, or the ticket, begins."""
    text = read_text(path, request.label, request.encoding)
    header = _header(text)
    columns = _of(header)
    table = read_delimited([text], request.label, _delimiter(text.lstrip("\n").partition("\n")[0]))
    if columns.is_threaded:
        messages: list[Row] = []
        for row in table:
            if row.fault is None:
                messages.append(row)
            else:
                yield row
        yield from conversations(_messages(messages, columns, request), request, silence=float("inf"))
    elif columns.is_ticket:
        yield from _tickets(table, columns, request)
    else:
        raise DataError(
            f"{request.label}:1",
            f"the columns {', '.join(header[:20])} are no support data that tunesmith knows",
            expected="ticket_id, sender and message (created_at if there is one), or subject, description and resolution",
            remedy="rename the columns; for other tables leave out `--kind` and name them with `--prompt-key` and `--completion-key`",
        )


def _tickets(table: Iterable[Row], columns: _Columns, request: Request) -> Iterator[Row]:
    subject, asked, replied = columns.first(SUBJECT), columns.first(ASKED), columns.first(REPLIED)
    number = columns.first(THREAD)
    for row in table:
        if row.fault is not None:
            yield row
            continue
        said = [_value(row, column) for column in (subject, asked) if column is not None]
        question = "\n\n".join(dict.fromkeys(part for part in said if part))
        answer = _value(row, replied)
        if not question or not answer:
            request.tally.leave_out("ticket without a description or reply", plural="tickets without a description or reply")
            continue
        group = f"{request.label}:{_value(row, number)}" if number and _value(row, number) else row.source
        yield Row(values={"question": question, "answer": answer}, source=row.source, group=group)


def _value(row: Row, column: str | None) -> str:
    return str(row.values.get(column) or "").strip() if column is not None else ""


def _messages(table: Sequence[Row], columns: _Columns, request: Request) -> list[Utterance]:
    """The messages of people, those of a thread together and in order of time."""
    kept = [row for row in table if _is_said(row, columns, request)]
    if not kept:
        raise DataError(request.label, "no row has a thread, a speaker and a text", expected="messages", remedy="check the columns")
    threads = _threads(table, columns)
    times = _times(kept, columns, request)
    first: dict[str, int] = {}
    for position, row in enumerate(kept):
        first.setdefault(threads[row.source], position)
    order = sorted(range(len(kept)), key=lambda position: (first[threads[kept[position].source]], times[position], position))
    return [
        Utterance(
            _speaker(kept[position], columns),
            _value(kept[position], columns.text),
            kept[position].source,
            None,
            threads[kept[position].source],
        )
        for position in order
    ]


def _is_said(row: Row, columns: _Columns, request: Request) -> bool:
    hidden = any(name in columns.names and _answer(_value(row, columns.names[name])) == said for name, said in PRIVATE.items())
    if hidden:
        request.tally.leave_out("internal note")
        return False
    is_tweet = TWEET in columns.names and REPLY_TO in columns.names
    needed = [columns.speaker, columns.text, *([] if is_tweet else [columns.thread])]
    if not all(_value(row, column) for column in needed):
        request.tally.leave_out("row without thread, speaker or text", plural="rows without thread, speaker or text")
        return False
    return True


def _answer(value: str) -> str:
    """`yes`, `no`, or neither."""
    return "yes" if value.casefold() in YES else "no" if value.casefold() in NO else ""


def _speaker(row: Row, columns: _Columns) -> str:
    """As the file names them; of a yes-or-no column `customer` or `agent`."""
    assert columns.speaker is not None
    value = _value(row, columns.speaker)
    side = FLAGS.get(_even(columns.speaker))
    if side is None or not _answer(value):
        return value
    other = {"customer": "agent", "agent": "customer"}[side]
    return side if _answer(value) == "yes" else other


def _threads(table: Sequence[Row], columns: _Columns) -> dict[str, str]:
    """By `Row.source` the thread; of tweets the one that began the exchange."""
    assert columns.thread is not None
    if TWEET not in columns.names or REPLY_TO not in columns.names:
        return {row.source: _value(row, columns.thread) for row in table}
    number = columns.names[TWEET]
    parents = {_value(row, number): _value(row, columns.thread) for row in table}
    return {row.source: _root(_value(row, number), parents) for row in table}


def _root(tweet: str, parents: dict[str, str]) -> str:
    """Follow replies to the first tweet that the file has; the way is shortened for those who come later."""
    way = [tweet]
    while (parent := parents.get(way[-1], "")) and parent in parents and parent not in way[-1:] and len(way) <= len(parents):
        way.append(parent)
    for passed in way[:-1]:
        parents[passed] = way[-1]
    return way[-1]


def _times(kept: Sequence[Row], columns: _Columns, request: Request) -> list[float]:
    """Seconds by which to order; all equal, so that the file's order stays, where a time is missing."""
    column = columns.first(TIME)
    times = seconds_of([_value(row, column) for row in kept]) if column else [None] * len(kept)
    known = [time for time in times if time is not None]
    if len(known) < len(kept):
        request.tally.say("messages in the order of the file, for not all have a time")
        return [0.0] * len(kept)
    return known


IMPORTER = Importer(name="support", description="customer support table", recognises=recognises, rows=rows)
