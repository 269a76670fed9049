"""What recognising columns needs to know of a source's rows, gathered in one pass and small however many there are.

    >>> survey = Survey.of(read_rows("banking77_train.csv"))
    >>> survey.names, len(survey.distinct("category"))
    (('text', 'category'), 77)

Rows may also be added one by one while they are read for something else: `recognise` takes either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunesmith.data.converting.labels import are_labels, unclear_words, word_of
from tunesmith.types import Row

CLASS_COLUMNS = ("label", "category", "intent", "class")
"""Names under which data sets keep what a text is classified as."""
MOST_CLASSES = 1_000
LONGEST_CLASS = 100
"""Characters of a class's name."""
LONGEST_CLASSIFIED = 2_000
"""Mean characters of texts that may be prompts to classify; longer ones may as well be documents with a note of their kind."""
FEWEST_TO_REPEAT = 20
"""Rows from which on the names of classes have to come more than once."""


class Survey:
    """Names of columns in the order they were met, and of some columns what they hold."""

    def __init__(self) -> None:
        self.place = "rows"
        """The first row's source."""
        self.num_rows = 0
        self.has_weights = False
        """Does a message say that it is not to be trained on (`weight` 0, as OpenAI's fine-tuning files may)?"""
        self._names: dict[str, None] = {}
        self._keys: Any = None  # of the row before: most rows have the same
        self._undecided: set[str] = set()  # columns without a value so far
        self._has_lists: dict[str, bool] = {}
        self._distinct: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, int] = {}  # characters

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Survey:
        """Of rows that are there already."""
        survey = cls()
        for row in rows:
            survey.add(row)
        return survey

    def add(self, row: Row) -> None:
        """Take in one more row."""
        values = row.values
        if self.num_rows == 0:
            self.place = row.source
        self.num_rows += 1
        if values.keys() != self._keys:
            self._meet(values)
        for name in tuple(self._undecided) if self._undecided else ():
            if (value := values.get(name)) is not None:
                self._has_lists[name] = isinstance(value, list | tuple)
                self._undecided.remove(name)
        for name, distinct in self._distinct.items():
            self._note_value(distinct, values.get(name))
        for name in self._texts:
            value = values.get(name)
            self._texts[name] += len(value) if isinstance(value, str) else 0
        if not self.has_weights and self._has_lists.get("messages"):
            self.has_weights = any(_is_unweighted(message) for message in values.get("messages") or ())

    def _meet(self, values: Mapping[str, Any]) -> None:
        for name in values:
            if name not in self._names:
                self._names[name] = None
                self._undecided.add(name)
                if name.casefold() in CLASS_COLUMNS:
                    self._distinct[name] = {}
                elif name.casefold() == "text":
                    self._texts[name] = 0
        self._keys = values.keys()

    def _note_value(self, distinct: dict[str, Any], value: Any) -> None:
        """A column beyond that many values has no classes, yet a single true or false still makes it one of labels."""
        if value is not None and not (isinstance(value, str) and not value.strip()):
            word = word_of(value)
            if len(distinct) <= MOST_CLASSES or word in ("true", "false"):
                distinct.setdefault(word, value)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rows' columns."""
        return tuple(self._names)

    def has_lists(self, name: str) -> bool:
        """Is the first value there is a list, as conversations are?"""
        return self._has_lists.get(name, False)

    def distinct(self, name: str) -> Sequence[Any]:
        """The different values of a column that may hold labels or classes, case aside; slightly more than `MOST_CLASSES` at most."""
        return list(self._distinct.get(name, {}).values())

    def has_classes(self, name: str) -> bool:
        """Are they names of classes: few, short, no judgements and no bare numbers?"""
        values = self.distinct(name)
        if not values or are_labels(values) or unclear_words(values) or self.has_numbers(name):
            return False
        are_names = all(isinstance(value, str) and len(value) <= LONGEST_CLASS for value in values)
        repeat = len(values) <= MOST_CLASSES and (self.num_rows < FEWEST_TO_REPEAT or 2 * len(values) <= self.num_rows)
        return are_names and repeat

    def has_numbers(self, name: str) -> bool:
        """Are they nothing but whole numbers, as classes are kept whose names stand elsewhere?"""
        values = self.distinct(name)
        return bool(values) and all(word_of(value).lstrip("-").isdecimal() for value in values)

    def mean_length(self, name: str) -> float:
        """Characters of a column called `text`, on average."""
        return self._texts.get(name, 0) / max(1, self.num_rows)


def _is_unweighted(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("weight") == 0 and message.get("weight") is not None
