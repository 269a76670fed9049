"""The directory that `prepare` writes: in the making under another name, then there as a whole.

with new_directory(Path("prepared/faq")) as staging:
    (staging / "train.jsonl").write_text(...)
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.errors import DataError, TunesmithError
from tunesmith.files import atomic_directory


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """A staging directory that becomes `out`; on any failure nothing of it stays.

    Raises:
        DataError: `out` is taken, or something cannot be written.
    """
    require_free(out)
    remove_abandoned(out)
    was_there = out.is_dir()
    try:
        if was_there:
            out.rmdir()  # empty, as was made sure of; a rename onto it would fail on Windows
        with atomic_directory(out) as staging:
            yield staging
    except OSError as error:
        if isinstance(error, TunesmithError):
            raise
        if isinstance(error, FileExistsError) and out.exists():
            raise _taken(out) from None
        found = f"it cannot be written ({error.strerror})"
        raise DataError(str(out), found, expected="a place with room that can be written", remedy="choose another --out") from error
    finally:
        if was_there and not out.exists():
            out.mkdir()


def require_free(out: Path) -> None:
    """Refuse a directory that holds something, before work is spent on what is to be put there.

    Raises:
        DataError: it is taken.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise _taken(out)


def _taken(out: Path) -> DataError:
    return DataError(str(out), "it exists already and is never overwritten", expected="a new directory", remedy="choose another --out")


def remove_abandoned(out: Path) -> None:
    """Clear away what a killed process left of an earlier attempt at the same directory."""
    if sys.platform == "win32":
        return  # there a process cannot be asked whether it lives without ending it
    for leftover in out.parent.glob(f".{glob.escape(out.name)}.partial-*"):
        number = leftover.name.rpartition("-")[2]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
