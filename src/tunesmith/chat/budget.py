"""What the calls may cost, kept to by reserving before a call what it may take at most."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.chat.calls import Usage
from tunesmith.types import Message

BYTES_PER_TOKEN = 4
"""A common rule for English; used where an endpoint does not count."""
CAREFUL_BYTES_PER_TOKEN = 2.5
"""For what is reserved: code and other languages take more tokens."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """In a currency of the user's, for a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


class Budget:
    """Counts what was spent, and refuses a call that might go over the limits."""

    def __init__(self, *, max_tokens: int | None, max_cost: float | None, prices: Prices, tokens_per_reply: int) -> None:
        self.max_tokens, self.max_cost, self.prices = max_tokens, max_cost, prices
        self.spent = Usage()
        self._reserved = Usage()
        self._tokens_per_reply = tokens_per_reply
        self._lock = threading.Lock()

    @property
    def cost(self) -> float:
        return self.prices.of(self.spent)

    def worst(self, messages: Sequence[Message], prompt_tokens: int | None = None) -> Usage:
        """The most that a call may take: its prompt, carefully estimated unless it was counted, and the longest reply it may have."""
        if prompt_tokens is None:
            prompt_tokens = int(sum(len(message.content.encode()) + 16 for message in messages) / CAREFUL_BYTES_PER_TOKEN) + 1
        return Usage(prompt_tokens=prompt_tokens, completion_tokens=self._tokens_per_reply)

    def reserve(self, worst: Usage) -> bool:
        """Set the most that a call may take aside; False if there is not so much left."""
        with self._lock:
            together = self.spent + self._reserved + worst
            if self.max_tokens is not None and together.total > self.max_tokens:
                return False
            if self.max_cost is not None and self.prices.of(together) > self.max_cost:
                return False
            self._reserved += worst
            return True

    def settle(self, worst: Usage, usage: Usage) -> None:
        """A call is over: what it took instead of what was set aside."""
        with self._lock:
            left = (self._reserved.prompt_tokens - worst.prompt_tokens, self._reserved.completion_tokens - worst.completion_tokens)
            self._reserved = Usage(prompt_tokens=left[0], completion_tokens=left[1])
            self.spent += usage

    def count(self, usage: Usage) -> None:
        """What an earlier run of the same work spent."""
        with self._lock:
            self.spent += usage


def estimated_usage(messages: Sequence[Message], text: str) -> Usage:
    """For an endpoint that does not count."""
    prompt = sum(len(message.content.encode()) for message in messages)
    return Usage(
        prompt_tokens=-(-prompt // BYTES_PER_TOKEN), completion_tokens=-(-len(text.encode()) // BYTES_PER_TOKEN), is_estimated=True
    )
