"""Messages of several people -> one conversation in proper order.

>>> conversation([Turn("assistant", "Welcome!"), Turn("user", "Hi?"), Turn("assistant", "Hello."), Turn("user", "Bye")], Tally())
[{'role': 'user', 'content': 'Hi?'}, {'role': 'assistant', 'content': 'Hello.'}]

What one side says in several messages in a row is one message of several lines. Whatever comes before the first message
of the user, or after the last answer, teaches no answer and is left out, counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tunesmith.data.importers.record import Tally
from tunesmith.types import Role


class Turn(NamedTuple):
    """What one side said in one message."""

    role: Role
    content: str


def conversation(turns: Iterable[Turn], tally: Tally) -> list[dict[str, str]] | None:
    """The value of a `messages` column, or None when nobody asks or nobody answers."""
    merged: list[Turn] = []
    sizes: list[int] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Turn(turn.role, f"{merged[-1].content}\n{turn.content}")
            sizes[-1] += 1
        else:
            merged.append(turn)
            sizes.append(1)
    system = merged[:1] if merged and merged[0].role == "system" else []
    first = next((number for number, turn in enumerate(merged) if turn.role == "user"), len(merged))
    last = max((number for number, turn in enumerate(merged) if turn.role == "assistant"), default=-1)
    if first > last:
        tally.leave_out("conversation without an answer", plural="conversations without an answer")
        return None
    tally.leave_out("message before the first question", sum(sizes[len(system) : first]), plural="messages before the first question")
    tally.leave_out("message after the last answer", sum(sizes[last + 1 :]), plural="messages after the last answer")
    kept = [*system, *merged[first : last + 1]]
    return [{"role": turn.role, "content": turn.content} for turn in kept]
