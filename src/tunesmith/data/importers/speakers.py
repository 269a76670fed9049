"""Who of several speakers gives the answers, and their messages -> conversations.

>>> sorted(answerers(Counter({"Anna": 3, "Acme Support": 4}), Request(label="chat.txt")))
['Acme Support']

Nothing is guessed from what is said: either a name tells (`Support`, `Bot`, `Customer`), or the user does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.data.importers.record import Request
from tunesmith.data.importers.turns import Turn, conversation
from tunesmith.errors import DataError
from tunesmith.types import Row

ANSWERING = re.compile(
    r"\b(agents?|support|assistant|(chat)?bot|help ?desk|service|ai|chat ?gpt|gpt|claude|gemini|copilot|bard|bing|model|"
    r"representative|rep|operator|advis[eo]r|staff|admin|employee|company|outbound|outgoing)\b"
)
ASKING = re.compile(r"\b(user|customer|client|human|requester|visitor|guest|caller|consumer|contact|lead|inbound|incoming|me)\b")
SILENCE_SECONDS = 6 * 3600
"""In a chat with times, a longer silence ends a conversation."""
MOST_NAMES = 8
"""Of speakers that an error lists."""


class Utterance(NamedTuple):
    """One message of a transcript."""

    speaker: str
    text: str
    source: str
    seconds: float | None = None
    talk: int | str = 0
    """What belongs to one conversation has one number or key."""


def is_answering(name: str) -> bool:
    """Does the name say that its bearer answers?"""
    return bool(ANSWERING.search(_words(name)))


def is_asking(name: str) -> bool:
    """Does the name say that its bearer asks?"""
    return bool(ASKING.search(_words(name))) and not is_answering(name)


def _words(name: str) -> str:
    """`HelpBot_2` as `help bot 2`."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).casefold()


def answerers(speakers: Counter[str], request: Request) -> frozenset[str]:
    """The speakers whose messages are answers; says whom it took.

    Raises:
        DataError: a name of `request.assistant` is nobody's; or nothing tells who answers; or nobody is left to ask.
    """
    if request.assistant is not None:
        answering = _named(speakers, request)
    else:
        answering = frozenset(name for name in speakers if is_answering(name))
        if not answering and any(map(is_asking, speakers)):
            answering = frozenset(name for name in speakers if not is_asking(name))
    if not answering or len(answering) == len(speakers):
        raise DataError(
            request.label,
            f"which of the speakers gives the answers cannot be told: {_listed(speakers)}",
            expected="two sides, of which one is called agent, support, assistant or bot",
            remedy="name those who answer with `--assistant NAME` (several: separated by commas)",
        )
    request.tally.say(f"{_shortened(sorted(answering))} taken for the assistant")
    return answering


def _named(speakers: Counter[str], request: Request) -> frozenset[str]:
    assert request.assistant is not None
    whole = request.assistant.strip()
    wanted = [whole] if whole in speakers else [part.strip() for part in whole.split(",")]
    by_name: dict[str, list[str]] = {}
    for name in speakers:
        by_name.setdefault(name.casefold(), []).append(name)
    missing = next((name for name in wanted if name.casefold() not in by_name), None)
    if missing is not None:
        found = f"nobody is called {missing!r}; the speakers are {_listed(speakers)}"
        raise DataError(request.label, found, expected="the name of a speaker", remedy="correct `--assistant`")
    return frozenset(name for one in wanted for name in by_name[one.casefold()])


def _listed(speakers: Counter[str]) -> str:
    return _shortened([f"{name[:60]} ({count:,})" for name, count in speakers.most_common()])


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def conversations(utterances: Sequence[Utterance], request: Request, silence: float = SILENCE_SECONDS) -> Iterator[Row]:
    """A row for each talk, and for each part of it between long silences; its source is that of its first message."""
    answering = answerers(Counter(one.speaker for one in utterances), request)
    for said in _talks(utterances, silence):
        turns = (Turn("assistant" if one.speaker in answering else "user", one.text) for one in said)
        messages = conversation(turns, request.tally)
        if messages is not None:
            yield Row(values={"messages": messages}, source=said[0].source, group=said[0].source)


def _talks(utterances: Sequence[Utterance], silence: float) -> Iterator[list[Utterance]]:
    said: list[Utterance] = []
    for one in utterances:
        if said and (one.talk != said[-1].talk or _is_apart(said[-1], one, silence)):
            yield said
            said = []
        said.append(one)
    if said:
        yield said


def _is_apart(before: Utterance, after: Utterance, silence: float) -> bool:
    return before.seconds is not None and after.seconds is not None and after.seconds - before.seconds > silence
