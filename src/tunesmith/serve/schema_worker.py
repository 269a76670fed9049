"""Looks at clients' schemas, and at answers by them, in a process that can be ended at any moment.

    python -m tunesmith.serve.schema_worker

Says `{}` when it is ready; then a line `{"schema": "{…}", "text": "…"}` (null: the schema alone) is answered by a line with `refused`
(why the schema cannot be used), or with `problem` (why the text is not by it; null: it is). Ends with its input.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from tunesmith.errors import ConfigError
from tunesmith.serve.guardrails.json_schema import TOO_MUCH, Checker

MOST_BYTES = 2**30
"""Of addresses, where the system keeps such limits."""
MOST_KEPT = 32
"""Schemas that need not be read anew."""


def main() -> None:
    """Answer until there are no more questions."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which first lets requests come to their end
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    _say({})
    for line in sys.stdin:
        asked = json.loads(line)
        _say(answered(asked["schema"], asked["text"]))


def answered(schema: str, text: str | None) -> dict[str, Any]:
    """What there is to say of a schema, written as JSON, and a text."""
    try:
        checker = _checker(schema)
        return {"problem": None if text is None else checker.problem(text)}
    except ConfigError as error:
        return {"refused": f"{error.found}; expected {error.expected}."}
    except (MemoryError, RecursionError):
        return {"refused": f"{TOO_MUCH}."} if text is None else {"problem": TOO_MUCH}


@lru_cache(maxsize=MOST_KEPT)
def _checker(schema: str) -> Checker:
    return Checker(json.loads(schema), place="response_format")


def _say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
