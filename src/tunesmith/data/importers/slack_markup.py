"""Slack's markup -> plain text without anybody's name.

>>> people = People([{"id": "U1", "name": "anna", "real_name": "Anna Ax", "profile": {"email": "anna@ax.org"}}])
>>> people.plain("Hi <@U1>, see <https://ax.org|the page> &amp; thank Anna")
'Hi user 1, see the page (https://ax.org) & thank user 1'

People are numbered in the order of `users.json`, those it lacks (guests, people of other workspaces) after them as they are met, so a
person has the same number everywhere in an export. Names are replaced wherever they stand as words of their own, whatever their case; a
name that is also an everyday word ("Mark", "Will") only where it begins with a capital letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

EVERYDAY_WORDS = re.compile(
    "angel|april|art|august|autumn|bill|bob|buddy|can|chase|chip|christian|clay|cliff|dawn|dean|don|drew|earl|faith|frank|gene|grace|"
    "grant|guy|hope|hunter|jack|jean|joy|june|king|lane|lee|long|love|major|mark|max|may|mike|miles|page|pat|paul|penny|pierce|price|"
    "ray|reed|rich|rob|robin|rose|ruby|sky|stone|sue|summer|van|wade|war|ward|west|will|win|young"
)
"""Names that are replaced only where they begin with a capital letter."""
NO_NAMES = re.compile("a|and|do|general|guest|he|help|in|is|it|me|my|no|of|on|or|so|support|team|test|the|to|val|we|you")
"""Parts of what people call themselves that tell nobody who they are; alone they stay."""
FEWEST_LETTERS = 2
"""Of a name that is replaced: a single letter is an initial and says nothing."""
WORD = re.compile(r"[^\W_]+")
MARK = re.compile(r"<([^<>\n]{1,4000})>")
ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
ENTITY = re.compile("|".join(ENTITIES))


class People:
    """Who is who in an export, and how its text is written without saying so."""

    def __init__(self, users: Iterable[Mapping[str, Any]], channels: Mapping[str, str] | None = None) -> None:
        """`users` as in `users.json`; `channels`: id to name."""
        self._numbers: dict[str, int] = {}
        self.bots: set[str] = {"USLACKBOT"}
        self._channels = dict(channels or {})
        self._owners: dict[str, str] = {}  # casefolded name to pseudonym
        self._by_first_word: dict[str, list[str]] = {}  # the longest name first
        self._named: set[str] = set()  # ids of which a name is known
        for user in users:
            self.meet(user)
        self._listed = frozenset(self._numbers)
        self.num_names_replaced = 0

    @property
    def num_unlisted(self) -> int:
        """People that messages have and `users.json` lacks."""
        return len(self._numbers.keys() - self._listed)

    @property
    def num_nameless(self) -> int:
        """Of those, whose name the export says nowhere, so that it cannot be looked for in what others write."""
        return len(self._numbers.keys() - self._listed - self._named)

    def meet(self, user: Mapping[str, Any]) -> None:
        """Take a person or bot for one of the export, with every name that `user`, as in `users.json`, has."""
        identifier = str(user.get("id"))
        if user.get("is_bot") or identifier in self.bots:
            self.bots.add(identifier)
            return
        pseudonym = self.pseudonym(identifier)
        for name in _names_of(user):
            self._named.add(identifier)
            if name.casefold() not in self._owners:
                self._owners[name.casefold()] = pseudonym
                names = self._by_first_word.setdefault(WORD.match(name).group().casefold(), [])  # type: ignore[union-attr]
                names.append(name)
                names.sort(key=len, reverse=True)

    def meet_speakers(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Learn who is in messages besides those of `users.json`, and by what other names: who wrote them, who is mentioned.

        An id that `users.json` lacks is a bot's if it wrote, and all of it by way of a bot.
        """
        met: dict[str, dict[tuple[str, ...], Mapping[str, Any]]] = {}
        by_bot: set[str] = set()
        by_hand: set[str] = set()
        for record in records:
            for user, wrote in _people_in(record):
                if user["id"] not in self.bots:
                    met.setdefault(user["id"], {})[tuple(_names_of(user))] = user
                    (by_bot if wrote == "by a bot" else by_hand if wrote else set()).add(user["id"])
        self.bots |= by_bot - by_hand - self._listed
        for known in (one for spellings in met.values() for one in spellings.values()):
            self.meet(known)

    def pseudonym(self, identifier: str) -> str:
        """`user 1`, always the same for one id; an id that `users.json` lacks gets the next number."""
        return f"user {self._numbers.setdefault(identifier, len(self._numbers) + 1)}"

    def names_somebody(self, text: str) -> bool:
        """Does a name stand in it, as in a channel's name?"""
        words = re.sub(r"[-_]", " ", text).title()  # a channel's name has no capital letters
        return any(self._name_at(words, word) for word in WORD.finditer(words))

    def plain(self, text: str) -> str:
        """Marks decoded, people by their numbers."""
        parts = MARK.split(text)  # what stands outside of marks, and inside, in turn
        return "".join(self._marked(part) if position % 2 else self._unmarked(part) for position, part in enumerate(parts))

    def _unmarked(self, text: str) -> str:
        return self._without_names(ENTITY.sub(lambda match: ENTITIES[match.group()], text))

    def _without_names(self, text: str) -> str:
        parts, done = [], 0
        for word in WORD.finditer(text):
            if word.start() >= done and (name := self._name_at(text, word)):
                parts += [text[done : word.start()], self._owners[name.casefold()]]
                done = word.start() + len(name)
                self.num_names_replaced += 1
        return "".join(parts) + text[done:]

    def _name_at(self, text: str, word: re.Match[str]) -> str | None:
        """The longest name that begins with this word."""
        for name in self._by_first_word.get(word.group().casefold(), ()):
            found = text[word.start() : word.start() + len(name)]
            after = text[word.start() + len(name) : word.start() + len(name) + 1]
            is_word = found.casefold() == name.casefold() and not (after.isalnum() or after == "_")
            if is_word and (not EVERYDAY_WORDS.fullmatch(name.casefold()) or found[0].isupper()):
                return name
        return None

    def _marked(self, mark: str) -> str:
        """One `<...>` of Slack's: a person, a channel, a group, a date or a link."""
        target, _, label = mark.partition("|")
        if target.startswith("@"):
            identifier = target[1:]
            return "@bot" if identifier in self.bots else self.pseudonym(identifier)
        if target.startswith("#"):
            return f"#{self._unmarked(label or self._channels.get(target[1:], 'channel'))}"
        if target.startswith("!"):
            return self._unmarked(label) or f"@{target[1:].partition('^')[0]}"
        return self._link(self._unmarked(target), self._unmarked(label))

    @staticmethod
    def _link(target: str, label: str) -> str:
        address = target.removeprefix("mailto:").removeprefix("tel:")
        bare = re.sub(r"^https?://|/$", "", address)
        return address if not label or label in (address, bare) else f"{label} ({address})"


def _people_in(record: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Whom a message names by id, as `users.json` would have them, and whether they wrote it: `by hand`, `by a bot`, or not."""
    user, text = record.get("user"), record.get("text")
    if isinstance(user, str):
        if record.get("bot_id") or record.get("subtype") == "bot_message":
            yield {"id": user}, "by a bot"
        else:
            names = {"name": record.get("username"), "real_name": record.get("real_name"), "profile": record.get("user_profile")}
            yield {"id": user, **names}, "by hand"
    for mark in MARK.findall(text) if isinstance(text, str) else ():
        target, _, label = mark.partition("|")
        if target.startswith("@"):
            yield {"id": target[1:], "profile": {"display_name": label.removeprefix("@")}}, ""


def _names_of(user: Mapping[str, Any]) -> Iterator[str]:
    """Every spelling by which `users.json` knows a person: e-mail, handles, whole names, and the words of whole names."""
    given = user.get("profile")
    profile: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    keys = ("email", "real_name", "real_name_normalized", "display_name", "display_name_normalized", "first_name", "last_name", "name")
    for value in (record.get(key) for record in (profile, user) for key in keys):
        if not isinstance(value, str):
            continue
        whole = re.sub(r"^[\W_]+|[^\w.]+$", "", value)
        words = [] if "@" in whole else re.split(r"[\W_]+", whole)
        for name in (whole, *words):
            if len(name) >= FEWEST_LETTERS and not name.isdigit() and not NO_NAMES.fullmatch(name.casefold()):
                yield name
