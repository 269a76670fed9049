"""What a user is told."""

from __future__ import annotations

import pytest

from tunesmith.errors import first_line


@pytest.mark.parametrize(
    ("error", "gist"),
    [
        (ValueError("one"), "one"),
        (ValueError("\n  one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (KeyError(""), "''"),
        (OSError(" \n\t\n"), "OSError"),
    ],
)
def test_the_gist_of_an_error(error: Exception, gist: str) -> None:
    assert first_line(error) == gist


def test_an_error_that_says_nothing() -> None:
    assert first_line(OSError(), otherwise="no reason given") == "no reason given"
    assert first_line(OSError("full"), otherwise="no reason given") == "full"
