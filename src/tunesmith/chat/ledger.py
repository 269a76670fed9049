"""Every call and its outcome, appended as it comes: what was paid for is never asked again.

    {"key": "documents docs/guide.md:12", "fingerprint": "3f0c…", "text": "[{…", "error": null, "prompt_tokens": 412, …}

A torn last line, left by a crash, is cut off; failed calls are asked again by the next run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

from tunesmith.chat.calls import Call, Outcome, Usage
from tunesmith.files import cut_torn_line, read_json_lines


class Ledger:
    """An append-only file of calls; a context manager while it is written."""

    def __init__(self, file: Path, model: str) -> None:
        self._file, self._model = file, model
        self._known: dict[str, Outcome] = {}
        self.spent_before = Usage()
        if file.exists():
            cut_torn_line(file)
            for record in read_json_lines(file):
                outcome = _outcome(record)
                self.spent_before += outcome.usage
                if outcome.text is not None:
                    self._known[record["fingerprint"]] = outcome

    def __enter__(self) -> Self:
        self._handle = self._file.open("a", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def find(self, call: Call) -> Outcome | None:
        """What an earlier run was answered."""
        return self._known.get(call.fingerprint(self._model))

    def append(self, call: Call, outcome: Outcome) -> None:
        """On the disk before it returns."""
        fingerprint = call.fingerprint(self._model)
        record = {
            "key": call.key,
            "fingerprint": fingerprint,
            "text": outcome.text,
            "error": outcome.error,
            "prompt_tokens": outcome.usage.prompt_tokens,
            "completion_tokens": outcome.usage.completion_tokens,
            "is_estimated": outcome.usage.is_estimated,
        }
        self._handle.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._handle.flush()
        os.fsync(self._handle.fileno())
        if outcome.text is not None:
            self._known[fingerprint] = outcome


def _outcome(record: dict[str, Any]) -> Outcome:
    usage = Usage(prompt_tokens=record["prompt_tokens"], completion_tokens=record["completion_tokens"], is_estimated=record["is_estimated"])
    return Outcome(text=record["text"], error=record["error"], usage=usage)
