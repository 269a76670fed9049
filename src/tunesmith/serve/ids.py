"""Ids of requests: clients read theirs in `X-Request-Id`, operators find it in the log."""

from __future__ import annotations

import re
import secrets

OWN = re.compile(r"[\w.:-]{1,128}", re.ASCII)
"""What a client may call its request itself."""


def request_id(given: str = "") -> str:
    """The client's own where it is a plain word, else one that nobody has had."""
    return given if OWN.fullmatch(given) else f"req-{secrets.token_hex(8)}"
