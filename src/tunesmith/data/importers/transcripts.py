"""Chats as text -> conversations: WhatsApp, Discord (DiscordChatExporter), and lines that begin with who speaks.

    12/31/23, 10:15 PM - Anna: Do you ship abroad?          WhatsApp, Android
    [31.12.23, 22:15:30] Support: Yes, to forty countries.  WhatsApp, iOS; others write `[date] name: text` alike
    Customer: Do you ship abroad?                           a name and a colon

A line that begins no message goes on with the one before. `---` between messages begins another conversation, and so do six
hours of silence where there are times. What the app itself says, and what stands for pictures and sound, is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tunesmith.data.importers import chats
from tunesmith.data.importers.dates import seconds_of
from tunesmith.data.importers.record import Importer, Request, head_of, head_text, read_text
from tunesmith.data.importers.speakers import Utterance, conversations, is_answering, is_asking
from tunesmith.errors import DataError
from tunesmith.types import Row

TIME = r"\d{1,2}[:.]\d\d(?:[:.]\d\d)?(?:\s?[ap]\.?\s?m\.?)?"
DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
INVISIBLE = "\u200e\u200f\u202a\u202c\ufeff"
STAMPED = re.compile(
    rf"[{INVISIBLE}]*(?:\[(?P<bracketed>[^\[\]\n]{{0,30}}?{TIME})\]|(?P<dashed>{DATE},?\s+{TIME})\s+[-\u2013])\s*(?P<rest>.*)",
    re.IGNORECASE,
)
"""A line that begins with when it was said."""
NAMED = re.compile(r"(?P<name>[^\s:\"\u201c][^:\n\"\u201c]{0,59}):(?:\s(?P<text>.*))?$")
PREFIXED = re.compile(r"\s{0,3}[*_]{0,2}(?P<name>[^\W\d][^:\n*]{0,39}?)[*_]{0,2}:[*_]{0,2}(?:\s+(?P<text>.*))?$")
RULE = re.compile(r"\s*([-=*_#])\1{2,}\s*")
LOG_LEVEL = re.compile(r"\b(debug|info|warn|warning|error|critical|fatal|trace|notice)\b", re.IGNORECASE)
MEDIA = re.compile(
    rf"[{INVISIBLE}]*(?:<[^<>\n]{{0,40}}\b(?:omitted|omitido|omitidos|omis|omesso|ausgeschlossen|weggelassen|weggelaten)>"
    r"|(?:image|video|audio|sticker|gif|document|contact card|bild|imagen|imagem)\s(?:omitted|weggelassen|omitida|omitido|ocultada)"
    r"|<attached: [^<>\n]+>|[^\n]{1,120} \((?:file attached|datei angeh\u00e4ngt|archivo adjunto|fichier joint)\)|null)\s*",
    re.IGNORECASE,
)
GONE = re.compile(
    rf"[{INVISIBLE}]*(?:(?:this message was|you) deleted(?: this message)?|waiting for this message.*|missed (?:voice|video) call.*"
    r"|messages and calls are end-to-end encrypted.*)\.?\s*",
    re.IGNORECASE,
)
EDITED = "<this message was edited>"
DISCORD_HEAD = re.compile(r"\s*={10,}\s*\n(?:Guild|Server): .*\nChannel: .*\n")
DISCORD_SECTION = re.compile(r"\{(Attachments|Embed|Stickers|Reactions|Forwarded Message|Invite)\}\s*")
DISCORD_EVENTS = frozenset({"Joined the server.", "Pinned a message.", "Started a thread."})
FEWEST_TURNS = 4
"""Lines of a file that is recognised by its names alone."""
MOST_SPEAKERS = 6
"""Likewise; a play has more."""


@dataclass(slots=True)
class _Draft:
    """A message while its lines are gathered."""

    line: int
    speaker: str | None
    """None for what the app says."""
    stamp: str = ""
    talk: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        text = "\n".join(self.lines).strip().strip(INVISIBLE).rstrip()
        if text[-len(EDITED) :].lower() == EDITED:
            text = text[: -len(EDITED)].rstrip().rstrip(INVISIBLE)
        return text.strip()


def recognises(path: Path, head: bytes) -> bool:
    """A text file of WhatsApp or Discord, or one of names of which one says that its bearer answers; or a folder around it."""
    if path.is_dir():
        return _inside(path) is not None
    return path.suffix.lower() == ".txt" and (_is_stamped(text := head_text(head)) or _is_all_names(text))


def _inside(folder: Path) -> Path | None:
    """The only text in a folder of pictures and sound, as WhatsApp zips it."""
    texts = [entry for entry in folder.iterdir() if entry.suffix.lower() == ".txt"]
    others = {entry.suffix.lower() for entry in folder.iterdir()} & {".json", ".jsonl", ".csv", ".parquet", ".md", ".html", ".pdf"}
    return texts[0] if len(texts) == 1 and not others and _is_stamped(head_text(head_of(texts[0]))) else None


def _is_stamped(head: str) -> bool:
    if DISCORD_HEAD.match(head):
        return True
    lines = [line for line in head.split("\n") if line.strip()]
    stamped = [match for line in lines if (match := STAMPED.match(line))]
    named = [match for one in stamped if (match := NAMED.match(one["rest"]))]
    first = bool(stamped) and lines[0] == stamped[0].string
    return first and len(named) >= 2 and not any(LOG_LEVEL.search(match["name"]) for match in named)


def _is_all_names(head: str) -> bool:
    """Nearly every line begins with one of a few names, which change, and one of them says that its bearer answers."""
    lines = [line for line in head.split("\n") if line.strip() and not RULE.fullmatch(line)]
    names = [match["name"] for line in lines if (match := PREFIXED.match(line))]
    roles = [is_answering(name) for name in names]
    changes = sum(before != after for before, after in pairwise(names))
    is_chat = FEWEST_TURNS <= len(names) >= 0.9 * len(lines) and 2 <= len(set(names)) <= MOST_SPEAKERS
    return is_chat and any(roles) and not all(roles) and changes >= len(names) / 2 and any(map(is_asking, names))


def rows(path: Path, request: Request) -> Iterator[Row]:
    """One row a conversation, named by the line of its first message."""
    if path.suffix.lower() in {".json", ".jsonl"}:
        yield from chats.rows(path, request)
        return
    file = (_inside(path) if path.is_dir() else path) or path
    text = read_text(file, request.label, request.encoding)
    lines = text.split("\n")
    if DISCORD_HEAD.match(text):
        drafts = _discord(lines)
    elif next((STAMPED.match(line) for line in lines if line.strip()), None):
        drafts = _stamped(lines)
    else:
        drafts = _prefixed(lines, request)
    yield from conversations(_utterances(drafts, request), request)


def _utterances(drafts: Sequence[_Draft], request: Request) -> list[Utterance]:
    """Those of people that say something, with their times."""
    spoken = []
    for draft in drafts:
        text = draft.text
        if draft.speaker is None or GONE.fullmatch(text):
            request.tally.leave_out("system message")
        elif not text or MEDIA.fullmatch(text):
            request.tally.leave_out("message without text", plural="messages without text")
        else:
            spoken.append((draft, text, draft.speaker))
    if not spoken:
        raise _no_transcript(request)
    times = seconds_of([draft.stamp for draft, _, _ in spoken])
    return [
        Utterance(speaker, text, f"{request.label}:{draft.line}", seconds, draft.talk)
        for (draft, text, speaker), seconds in zip(spoken, times, strict=True)
    ]


def _stamped(lines: Sequence[str]) -> list[_Draft]:
    drafts: list[_Draft] = []
    for number, line in enumerate(lines, start=1):
        if match := STAMPED.match(line):
            named = NAMED.match(match["rest"])
            said = [named["text"] or ""] if named else [match["rest"]]
            stamp = match["bracketed"] or match["dashed"]
            speaker = named["name"].strip(INVISIBLE + "~ \u202f\xa0") if named else None
            drafts.append(_Draft(line=number, speaker=speaker, stamp=stamp, lines=said))
        elif drafts:
            drafts[-1].lines.append(line)
    return drafts


def _discord(lines: Sequence[str]) -> list[_Draft]:
    """`[date] name`, below it what was said, below that sections of pictures and reactions, which are left out."""
    drafts: list[_Draft] = []
    is_text = False
    for number, line in enumerate(lines, start=1):
        match = STAMPED.match(line)
        if match and match["bracketed"] and match["rest"]:
            drafts.append(_Draft(line=number, speaker=match["rest"].removesuffix(" (pinned)"), stamp=match["bracketed"]))
            is_text = True
        elif DISCORD_SECTION.fullmatch(line) or re.fullmatch("={10,}", line.strip()):
            is_text = False
        elif is_text:
            drafts[-1].lines.append(line)
    for draft in drafts:
        if draft.text in DISCORD_EVENTS:
            draft.speaker = None
    return drafts


def _prefixed(lines: Sequence[str], request: Request) -> list[_Draft]:
    """`Name: text`; a name counts if it begins at least two messages, or says what its bearer does."""
    matches = [PREFIXED.match(line) for line in lines]
    counts = Counter(match["name"] for match in matches if match)
    named = {part.strip().casefold() for part in (request.assistant or "").split(",")}
    names = {name for name, count in counts.items() if count > 1 or is_answering(name) or is_asking(name) or name.casefold() in named}
    drafts: list[_Draft] = []
    talk = 0
    for number, (line, match) in enumerate(zip(lines, matches, strict=True), start=1):
        if match and match["name"] in names:
            drafts.append(_Draft(line=number, speaker=match["name"], talk=talk, lines=[match["text"] or ""]))
        elif RULE.fullmatch(line):
            talk += 1
        elif drafts and drafts[-1].talk == talk:
            drafts[-1].lines.append(line)
        elif line.strip():
            request.tally.leave_out("line before the first message", plural="lines before the first message")
    if len({draft.speaker for draft in drafts}) < 2:
        raise _no_transcript(request)
    return drafts


def _no_transcript(request: Request) -> DataError:
    return DataError(
        request.label,
        "no two speakers can be told apart in it",
        expected="lines such as `Customer: …` and `Agent: …`, or an export of WhatsApp or Discord",
        remedy="begin every message with its speaker's name and a colon; raw text is read without `--kind`",
    )


IMPORTER = Importer(name="transcript", description="chat transcript", recognises=recognises, rows=rows)
