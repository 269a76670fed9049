"""Run a command until it ends, or until whoever started us is no more; what it has started ends with it.

    python -m tunesmith.vllm.keeper vllm serve …

Standard input is a pipe that nobody writes to: it ends when its other end is closed, as it is when that process is killed. vLLM itself
would stay, with all its memory of the GPU.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

SECONDS_TO_END = 10
"""Between asking and killing."""


def keep(words: list[str]) -> int:
    """Exit code of the command, as a shell gives it."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603 - words of ours

    def end_when_left() -> None:
        while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock would be held while Python ends
            pass
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        _kill_group(process.pid)

    threading.Thread(target=end_when_left, daemon=True).start()
    code = process.wait()
    _kill_group(process.pid)
    return code if code >= 0 else 128 - code


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
