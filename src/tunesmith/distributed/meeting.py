"""Agreeing on a name that no earlier attempt has used, through a store that remembers them, as torchrun's does that starts ranks again.

Every rank puts up a token of its own. The first rank offers a new name to the tokens it finds; whoever finds its own among them
says yes under that name, and when all have, the first rank says go. The tokens of processes that are no more get nobody's yes,
and their successors' replace them, for whom there is another offer.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

MEETING = "tunesmith-meeting"
"""What the keys begin with that all attempts share."""
PAUSE_SECONDS = 0.05


def agreed_name(store: Any, rank: int, size: int, *, seconds: float) -> str:
    """The same on every rank of this attempt, and of no other.

    Args:
        store: of torch.distributed.
        seconds: how long to wait for the others.

    Raises:
        RuntimeError: some did not come.
    """
    deadline = time.monotonic() + seconds
    return _offer(store, size, deadline) if rank == 0 else _accept(store, rank, deadline)


def _offer(store: Any, size: int, deadline: float) -> str:
    others = range(1, size)
    offered: dict[str, str] = {}
    name = ""
    while True:
        tokens = {str(rank): token for rank in others if (token := _read(store, f"{MEETING}/{rank}"))}
        if len(tokens) == len(others):
            if tokens != offered or not name:
                offered, name = tokens, uuid.uuid4().hex
                store.set(f"{MEETING}/offer", json.dumps([name, tokens]))
            if all(_read(store, f"{name}/{rank}") for rank in others):
                store.set(f"{name}/go", "go")
                return name
        missing = [rank for rank in others if not _read(store, f"{name}/{rank}")]
        _pause(deadline, f"ranks {missing} did not come")


def _accept(store: Any, rank: int, deadline: float) -> str:
    token = uuid.uuid4().hex
    store.set(f"{MEETING}/{rank}", token)
    while True:
        name, tokens = json.loads(_read(store, f"{MEETING}/offer") or '["", {}]')
        if tokens.get(str(rank)) == token:
            store.set(f"{name}/{rank}", "yes")
            if _read(store, f"{name}/go"):
                return str(name)
        _pause(deadline, "the first rank did not come")


def _read(store: Any, key: str) -> str | None:
    """None where nobody has set it: `get` would wait."""
    return store.get(key).decode() if store.check([key]) else None


def _pause(deadline: float, missing: str) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(missing)
    time.sleep(PAUSE_SECONDS)
