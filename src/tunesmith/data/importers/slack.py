"""A Slack export -> conversations, everybody by a number.

    export/users.json, channels.json, general/2024-01-05.json, …

A thread is a conversation. What is said outside of threads is one as long as no more than thirty minutes pass between
two messages of a channel. Whoever begins is the user; whoever else speaks is the assistant, several people in turn as one.
What bots and Slack itself write is left out. All messages are gone through once for who is in them, since guests and people of other
workspaces are not in `users.json`; then channels are read one after the other and their days in order; in memory are the threads of a
channel that still go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.importers.record import Importer, Request, read_text
from tunesmith.data.importers.slack_markup import People
from tunesmith.data.importers.turns import Turn, conversation
from tunesmith.errors import DataError
from tunesmith.types import Row

SILENCE_SECONDS = 30 * 60
"""Outside of threads, a longer silence ends a conversation."""
CHANNEL_LISTS = ("channels.json", "groups.json", "mpims.json", "dms.json")
"""Public, private, direct messages of several people and of two; folders of the last are named by id."""
DAY = re.compile(r"\d{4}-\d\d-\d\d\.json")
SAID = frozenset({None, "", "thread_broadcast", "me_message", "file_share", "file_comment"})
"""Subtypes of messages that a person wrote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Channel:
    folder: Path
    name: str
    """For `Row.source`: the folder's name, or the channel's id where the name would name somebody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    speaker: str
    text: str
    time: float
    thread: str | None
    ends: float
    """Of the first message of a thread: the time of its last reply."""
    source: str


def recognises(path: Path, head: bytes) -> bool:
    """A folder with `users.json`, a list of channels, and days of messages; perhaps inside the folder that was zipped."""
    return path.is_dir() and _is_export(_root(path))


def _is_export(folder: Path) -> bool:
    listed = (folder / "users.json").is_file() and any((folder / name).is_file() for name in CHANNEL_LISTS)
    return listed and any(True for _ in _day_folders(folder))


def _root(path: Path) -> Path:
    """The export, or the one folder in `path` that is it."""
    if (path / "users.json").is_file():
        return path
    inside = [entry for entry in path.iterdir() if entry.is_dir() and entry.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 else path


def _day_folders(root: Path) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and any(DAY.fullmatch(file.name) for file in entry.iterdir()):
            yield entry


def rows(path: Path, request: Request) -> Iterator[Row]:
    """One row a conversation: `export/general/2024-01-05.json#3` is the third message of that day."""
    root = _root(path) if path.is_dir() else path
    if not path.is_dir() or not _is_export(root):
        raise DataError(
            request.label,
            "it is no Slack export",
            expected="users.json, channels.json and a folder of days for each channel",
            remedy="unpack the export as Slack gave it",
        )
    channels = {str(one.get("id")): one for name in CHANNEL_LISTS for one in _records(root / name, request)}
    names = {key: str(one["name"]) for key, one in channels.items() if one.get("name")}
    people = People(_records(root / "users.json", request), names)
    people.meet_speakers(record for folder in _day_folders(root) for record in _written(folder, request))
    _say_unlisted(people, request)
    for channel in _channels(root, names, people):
        yield from _conversations(channel, people, request)
    request.tally.change("name by a number", people.num_names_replaced, plural="names by numbers")


def _say_unlisted(people: People, request: Request) -> None:
    if people.num_unlisted:
        number = f"{people.num_unlisted:,} {'person' if people.num_unlisted == 1 else 'people'} not in users.json numbered after the others"
        nameless = f", {people.num_nameless:,} without a name to look for in what is said" if people.num_nameless else ""
        request.tally.say(f"{number}{nameless}")


def _written(folder: Path, request: Request) -> Iterator[dict[str, Any]]:
    """Everything of a channel, in the order of its days."""
    inside = Request(label=f"{request.label}/{folder.name}", tally=request.tally)
    for file in _days(folder):
        yield from _records(file, inside)


def _days(folder: Path) -> list[Path]:
    """The files of a channel's days, in order."""
    return sorted(entry for entry in folder.iterdir() if DAY.fullmatch(entry.name))


def _channels(root: Path, names: Mapping[str, str], people: People) -> Iterator[_Channel]:
    identifiers = {name: key for key, name in names.items()}
    for number, folder in enumerate(_day_folders(root), start=1):
        is_named = people.names_somebody(folder.name) or folder.name.startswith("mpdm-")
        yield _Channel(folder=folder, name=identifiers.get(folder.name, f"channel {number}") if is_named else folder.name)


def _records(file: Path, request: Request) -> list[dict[str, Any]]:
    """The objects of a JSON list; none where the file is not there."""
    if not file.is_file():
        return []
    place = f"{request.label}/{file.name}"
    text = read_text(file, place, "utf-8")
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(place, f"broken JSON ({error})", expected="a list of objects", remedy="export again") from None
    if not isinstance(items, list):
        raise DataError(place, "no JSON list", expected="a list of objects", remedy="export again")
    return [item if isinstance(item, dict) else {} for item in items]


def _conversations(channel: _Channel, people: People, request: Request) -> Iterator[Row]:
    """Threads as they end, and the talk outside of them as it falls silent."""
    threads: dict[str, list[_Message]] = {}
    talk: list[_Message] = []
    for file in _days(channel.folder):
        for message in _messages(file, channel, people, request):
            if message.thread is not None:
                threads.setdefault(message.thread, []).append(message)
                continue
            if talk and message.time - talk[-1].time > SILENCE_SECONDS:
                yield from _row(talk, request)
                talk = []
            talk.append(message)
        for ended in [key for key, said in threads.items() if said[0].ends <= said[-1].time]:
            yield from _row(threads.pop(ended), request)
    for said in (*threads.values(), talk):
        yield from _row(said, request)


def _row(said: list[_Message], request: Request) -> Iterator[Row]:
    if not said:
        return
    asker = said[0].speaker
    turns = (Turn("user" if message.speaker == asker else "assistant", message.text) for message in said)
    messages = conversation(turns, request.tally)
    if messages is not None:
        yield Row(values={"messages": messages}, source=said[0].source, group=said[0].source)


def _messages(file: Path, channel: _Channel, people: People, request: Request) -> list[_Message]:
    """What people wrote on one day, in order of time."""
    read = []
    for number, record in enumerate(_day(file, channel, request), start=1):
        message = _message(record, f"{request.label}/{channel.name}/{file.name}#{number}", people, request)
        if message is not None:
            read.append(message)
    return sorted(read, key=lambda message: message.time)


def _day(file: Path, channel: _Channel, request: Request) -> list[dict[str, Any]]:
    inside = Request(label=f"{request.label}/{channel.name}", tally=request.tally)
    return _records(file, inside)


def _message(record: Mapping[str, Any], source: str, people: People, request: Request) -> _Message | None:
    """None, and counted, if it is not something that a person wrote."""
    user, text, subtype = (value if isinstance(value := record.get(key), str) else None for key in ("user", "text", "subtype"))
    time = _seconds(record.get("ts"))
    unsaid = None
    if record.get("bot_id") or subtype == "bot_message" or user in people.bots:
        unsaid = ("message of a bot", "messages of bots")
    elif subtype not in SAID or record.get("hidden"):
        unsaid = ("system message", "system messages")
    elif user is None or time is None or text is None:
        unsaid = ("entry that is no message", "entries that are no messages")
    elif not (plain := people.plain(text).strip()):
        unsaid = ("message without text", "messages without text")
    if unsaid is not None:
        request.tally.leave_out(unsaid[0], plural=unsaid[1])
        return None
    assert user is not None
    assert time is not None
    thread = record.get("thread_ts")
    ends = _seconds(record.get("latest_reply")) if record.get("latest_reply") else None
    return _Message(
        speaker=user,
        text=plain,
        time=time,
        thread=thread if isinstance(thread, str) else None,
        ends=float("inf") if ends is None else ends,
        source=source,
    )


def _seconds(stamp: Any) -> float | None:
    """Slack's `1704445200.000100` as seconds."""
    try:
        seconds = float(stamp)
    except (TypeError, ValueError):
        return None
    return seconds if seconds == seconds and abs(seconds) != float("inf") else None  # noqa: PLR0124 - NaN


IMPORTER = Importer(name="slack", description="Slack export", recognises=recognises, rows=rows)
