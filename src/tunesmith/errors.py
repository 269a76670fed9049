"""The exceptions a user can meet, each one paragraph: place, found, expected, remedy.

    >>> raise DataError("faq.csv:17", "the answer is empty", expected="text",
    ...                 remedy="fill it in, or pass --on-invalid drop")
    tunesmith.errors.DataError: faq.csv:17: the answer is empty; expected text. To go on: fill it in, or pass --on-invalid drop.

Every class is also a standard one, so `except ValueError` works as a Python user expects, and all of them
survive pickling (worker processes send them home). A fault of ours is an assertion, not one of these.
"""

from __future__ import annotations


class TunesmithError(Exception):
    """Base of everything tunesmith raises on purpose.

    Attributes:
        exit_code: what the command line returns; 2 for a user's mistake, 3 when a gate refuses, 4 when a group of
            processes fell apart.
    """

    exit_code = 2

    def __init__(self, place: str, found: str, *, expected: str, remedy: str) -> None:
        super().__init__(place, found, expected, remedy)
        self.place, self.found, self.expected, self.remedy = place, found, expected, remedy

    def __str__(self) -> str:
        return f"{self.place}: {self.found}; expected {self.expected}. To go on: {self.remedy}."

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.place, self.found, self.expected, self.remedy)


def _rebuild(kind: type[TunesmithError], place: str, found: str, expected: str, remedy: str) -> TunesmithError:
    return kind(place, found, expected=expected, remedy=remedy)


class DataError(TunesmithError, ValueError):
    """A file or row of the user's cannot be used as it is."""


class ConfigError(TunesmithError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""


class AssetError(TunesmithError, OSError):
    """A model or data set could not be found, fetched, verified or converted."""

    # OSError fills args in its own __new__; the text is ours.
    __str__ = TunesmithError.__str__


class RunError(TunesmithError, RuntimeError):
    """A run directory is taken, missing, incomplete, or from another version."""


class PreflightError(TunesmithError, ValueError):
    """The rendering of an example would train the wrong thing; training is refused."""

    exit_code = 3


class GateError(TunesmithError, RuntimeError):
    """A condition the user set was not met, e.g. `--require better`."""

    exit_code = 3


class GroupError(TunesmithError, ConnectionError):
    """The processes of a group cannot find each other, lose each other, or do not work on the same thing."""

    exit_code = 4
    __str__ = TunesmithError.__str__  # as of AssetError


class TrainingError(TunesmithError, ArithmeticError):
    """Loss or gradient became non-finite; the run stopped before the update."""

    exit_code = 1


class TrainingInterrupted(TunesmithError, RuntimeError):  # noqa: N818 - nothing went wrong, as with KeyboardInterrupt
    """The user stopped the run; everything up to the last finished step is saved."""

    exit_code = 130


def first_line(error: BaseException, *, otherwise: str | None = None) -> str:
    """The gist of somebody else's error: the first line that says something, else `otherwise` or the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), otherwise or type(error).__name__)
