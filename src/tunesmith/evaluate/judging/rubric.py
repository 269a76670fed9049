"""What a good answer is, and the scale of scores.

Scale: 1 to 5
5: correct, complete and friendly. 3: correct, but something is left out. 1: wrong, or no answer to the question.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from tunesmith.errors import ConfigError
from tunesmith.evaluate.given import text_or_file

SCALE = re.compile(r"^[ \t]*scale[ \t]*:[ \t]*(-?\d+)[ \t]*(?:to|\.\.|–|-)[ \t]*(-?\d+)[ \t]*$\n?", re.IGNORECASE | re.MULTILINE)
DEFAULT = """\
A good answer does what the user asks, is correct, leaves out nothing that is needed, and is clear. Facts that are wrong or made up are
worse than facts that are left out. More words are not better: an answer that says the same in fewer words is as good."""


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """In the user's words."""

    text: str = DEFAULT
    lowest: int = 1
    highest: int = 10

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits; another text or scale has others."""
        return hashlib.sha256(f"{self.lowest} {self.highest} {self.text}".encode()).hexdigest()[:8]


def read_rubric(given: str | None) -> Rubric:
    """From a file, from text, or ours.

    Raises:
        ConfigError: it is empty, its scale runs backwards, or it looks like a file that is not there.
    """
    if given is None:
        return Rubric()
    text = text_or_file(given, option="--rubric")
    scale = SCALE.search(text)
    lowest, highest = (int(scale[1]), int(scale[2])) if scale else (1, 10)
    text = SCALE.sub("", text).strip()
    if not text or lowest >= highest:
        found = f"the scale runs from {lowest} to {highest}" if text else "the rubric is empty"
        remedy = "write what a good answer is, with a line `Scale: 1 to 5` for another scale than 1 to 10"
        raise ConfigError("--rubric", found, expected="words, and a lowest score below the highest", remedy=remedy)
    return Rubric(text=text, lowest=lowest, highest=highest)
