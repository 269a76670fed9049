"""What a user may give as text or as a file of it: a rubric, instructions."""

from __future__ import annotations

from pathlib import Path

from tunesmith.errors import ConfigError

LONGEST_FILE_NAME = 255


def text_or_file(given: str, *, option: str) -> str:
    """The text of the file that is named, else what was given.

    Raises:
        ConfigError: it looks like a file that is not there, or the file is not UTF-8.
    """
    is_name = "\n" not in given and len(given) <= LONGEST_FILE_NAME
    if is_name and Path(given).is_file():
        try:
            return Path(given).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(given, f"not UTF-8 ({error})", expected="text", remedy="save it as UTF-8") from None
    if is_name and " " not in given.strip():
        raise ConfigError(option, f"there is no file {given!r}", expected="a file, or a sentence", remedy="correct the path")
    return given
