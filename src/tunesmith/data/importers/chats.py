"""Chats as JSON -> conversations: ChatGPT's and Claude's exports, ShareGPT and its variants, DiscordChatExporter.

    [{"mapping": {"n1": {"message": {...}, "parent": "n0"}, ...}, "current_node": "n9"}]     ChatGPT: the path to the current node
    [{"chat_messages": [{"sender": "human", "text": "..."}]}]                                Claude
    [{"items": [{"from": "human", "value": "..."}, {"from": "chatgpt", "value": "..."}]}]    ShareGPT's forms
    {"guild": {...}, "channel": {...}, "messages": [{"author": {...}, "content": "..."}]}    Discord

Data sets of `conversations` and `messages` with the usual roles are tables and not read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.data.importers.dates import seconds_of
from tunesmith.data.importers.record import Importer, Request, Tally, head_of, head_text, read_text
from tunesmith.data.importers.speakers import Utterance, conversations, is_answering, is_asking
from tunesmith.data.importers.turns import Turn, conversation
from tunesmith.errors import DataError
from tunesmith.types import Role, Row

LISTS = ("conversations", "conversation", "items", "chat_messages", "messages", "dialogue", "dialog", "turns")
SPEAKER_KEYS = ("from", "role", "sender", "speaker", "author")
TEXT_KEYS = ("value", "content", "text", "message", "utterance")
KNOWN_ROLES: Mapping[str, Role] = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
CHATGPT = re.compile(r'\s*\[\s*\{[^{}]*"mapping"\s*:\s*\{')
CLAUDE = re.compile(r'"chat_messages"\s*:\s*\[')
DISCORD = re.compile(r'\s*\{\s*"guild"\s*:\s*\{')
VARIANT = re.compile(
    r'"(?:items|conversation|dialogue|dialog)"\s*:\s*\[\s*\{\s*"(?:id|from|role|speaker|sender|human|user)"\s*:'
    r'|"from"\s*:\s*"(?:chatgpt|bing|bard|model|bot|ai)"'
)


def recognises(path: Path, head: bytes) -> bool:
    """A JSON file with the marks of such an export, or the unpacked export around it."""
    if path.is_dir():
        return bool(_files(path))
    if path.suffix.lower() not in {".json", ".jsonl"}:
        return False
    text = head_text(head)
    if path.suffix.lower() == ".json" and (CHATGPT.match(text) or DISCORD.match(text)):
        return True
    return bool(CLAUDE.search(text) or VARIANT.search(text))


def _files(folder: Path) -> list[Path]:
    """`conversations.json`, or `conversations-000.json` and so on, of an export that is recognised."""
    files = sorted(folder.glob("conversations*.json"))
    return files if files and all(recognises(file, head_of(file)) for file in files) else []


def rows(path: Path, request: Request) -> Iterator[Row]:
    """One row a conversation: `conversations.json#3` is the third of the file."""
    if not path.is_dir():
        yield from _rows_of_file(path, request)
        return
    for file in _files(path):
        inside = f"{request.label}/{file.name}"
        yield from _rows_of_file(file, Request(label=inside, encoding=request.encoding, assistant=request.assistant, tally=request.tally))


def _rows_of_file(path: Path, request: Request) -> Iterator[Row]:
    text = read_text(path, request.label, request.encoding)
    found_any = False
    for place, item in _items(text, request.label, is_lines=path.suffix.lower() == ".jsonl"):
        if isinstance(item, dict) and "guild" in item and isinstance(item.get("messages"), list):
            found_any = True
            yield from conversations(_discord(item, request), request)
            continue
        turns = _turns(item, place, request.tally)
        if turns is None:
            request.tally.leave_out("item that is no conversation", plural="items that are no conversations")
            continue
        found_any = True
        messages = conversation(turns, request.tally)
        if messages is not None:
            yield Row(values={"messages": messages}, source=place, group=place)
    if not found_any:
        expected = "an export of ChatGPT, Claude, ShareGPT or Discord"
        raise DataError(request.label, "no conversation is in it", expected=expected, remedy="leave `--kind` out for tables")


def _items(text: str, label: str, *, is_lines: bool) -> Iterator[tuple[str, Any]]:
    if is_lines:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"{label}:{number}", _parsed(line, f"{label}:{number}")
        return
    document = _parsed(text, label)
    for number, item in enumerate(document if isinstance(document, list) else [document], start=1):
        yield f"{label}#{number}", item


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(place, f"broken JSON ({error})", expected="a whole export", remedy="export or download it again") from None


def _turns(item: Any, place: str, tally: Tally) -> list[Turn] | None:
    """The messages of one conversation in any of the forms; None if it is in none."""
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("mapping"), dict):
        return _path(item, tally)
    said = next((item[key] for key in LISTS if isinstance(item.get(key), list)), None)
    return None if said is None else [turn for one in said for turn in _variant(one, place, tally)]


def _variant(message: Any, place: str, tally: Tally) -> Iterator[Turn]:
    """One message of a list; of `{"human": ..., "assistant": ...}` both."""
    if not isinstance(message, dict):
        tally.leave_out("message of an unknown form", plural="messages of an unknown form")
        return
    speaker = next((message[key] for key in SPEAKER_KEYS if isinstance(message.get(key), str)), None)
    if speaker is None:
        sides = [(key, value) for key, value in message.items() if isinstance(value, str) and (is_asking(key) or is_answering(key))]
    else:
        sides = [(speaker, _text_of(message))]
    if not sides:
        tally.leave_out("message of an unknown form", plural="messages of an unknown form")
    for name, text in sides:
        role = _role(name, place)
        if text.strip():
            yield Turn(role, text)
        else:
            tally.leave_out("message without text", plural="messages without text")


def _text_of(message: Mapping[str, Any]) -> str:
    """The first text there is; of a list of parts those that are text."""
    for key in TEXT_KEYS:
        value = message.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list):
            parts = [part.get("text") if isinstance(part, dict) else part for part in value]
            return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def _role(name: str, place: str) -> Role:
    known = KNOWN_ROLES.get(name.casefold())
    if known is not None:
        return known
    if is_answering(name) or is_asking(name):
        return "assistant" if is_answering(name) else "user"
    raise DataError(
        place, f"the speaker {name[:60]!r} is no known role", expected="human or user, gpt or assistant, system", remedy="rename it"
    )


def _path(item: Mapping[str, Any], tally: Tally) -> list[Turn]:
    """ChatGPT keeps every regenerated answer as a branch; the path from the current node up to the root is what was shown last."""
    mapping = item["mapping"]
    current = item.get("current_node")
    node = current if isinstance(current, str) and current in mapping else _last_leaf(mapping)
    path: list[Any] = []
    seen: set[str] = set()
    while isinstance(node, str) and node not in seen and isinstance(mapping.get(node), dict):
        seen.add(node)
        path.append(mapping[node].get("message"))
        node = mapping[node].get("parent")
    shown = sum(isinstance(one, dict) and isinstance(one.get("message"), dict) for one in mapping.values())
    tally.leave_out("message of another branch", shown - sum(isinstance(one, dict) for one in path), plural="messages of other branches")
    return [turn for message in reversed(path) if isinstance(message, dict) for turn in _chatgpt(message, tally)]


def _last_leaf(mapping: Mapping[str, Any]) -> str | None:
    """The last node without children, where the export names no current one."""
    leaves = [key for key, node in mapping.items() if isinstance(node, dict) and not node.get("children")]
    return leaves[-1] if leaves else None


def _chatgpt(message: Mapping[str, Any], tally: Tally) -> Iterator[Turn]:
    """A message as people saw it; calls of tools, hidden context and thoughts are left out."""
    author, content, metadata = (value if isinstance(value := message.get(key), dict) else {} for key in ("author", "content", "metadata"))
    role = author.get("role")
    parts = content.get("parts") if isinstance(content.get("parts"), list) else []
    texts = [part for part in parts or [] if isinstance(part, str) and part.strip()]
    is_shown = content.get("content_type") in ("text", "multimodal_text") and not metadata.get("is_visually_hidden_from_conversation")
    if role == "system" and not texts:
        return  # every conversation begins with an empty one
    if role not in ("user", "assistant", "system") or not is_shown or message.get("recipient", "all") != "all":
        tally.leave_out("message of a tool or hidden from people", plural="messages of tools or hidden from people")
        return
    pictures = sum(isinstance(part, dict) for part in parts or [])
    tally.leave_out("picture or other attachment", pictures, plural="pictures or other attachments")
    if texts:
        yield Turn(KNOWN_ROLES[role], "\n".join(texts))
    elif not pictures:
        tally.leave_out("message without text", plural="messages without text")


def _discord(document: Mapping[str, Any], request: Request) -> list[Utterance]:
    """The messages of a channel; joins, pins and bare attachments are left out."""
    said = []
    for number, message in enumerate(document["messages"], start=1):
        record = message if isinstance(message, dict) else {}
        author = record.get("author") if isinstance(record.get("author"), dict) else {}
        content, name = record.get("content"), (author or {}).get("name")
        if record.get("type") not in ("Default", "Reply"):
            request.tally.leave_out("system message")
        elif not isinstance(content, str) or not content.strip() or not isinstance(name, str):
            request.tally.leave_out("message without text", plural="messages without text")
        else:
            said.append((name, content, f"{request.label}#{number}", record.get("timestamp")))
    times = seconds_of([stamp if isinstance(stamp, str) else "" for *_, stamp in said])
    return [Utterance(name, text, source, seconds) for (name, text, source, _), seconds in zip(said, times, strict=True)]


IMPORTER = Importer(name="chat", description="chat export", recognises=recognises, rows=rows)
