"""Calls of the Python interface over several processes, as `--processes` is for the command line.

    run_in_group("train", {"config": {...}, "runs_dir": "runs", "name": "faq"}, processes=2)

Every rank is a new Python that reads from a file what to do; the caller's script or notebook is not run again, and needs no
`if __name__ == "__main__"`. What comes of it is in the run directory. A rank's mistake is raised in the caller.

    python -m tunesmith.api_ranks FILE           # what a rank is
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith import errors
from tunesmith.config import EvaluateConfig, TrainConfig
from tunesmith.distributed.environment import place_of_this_process
from tunesmith.distributed.launching import launch, needs_launch
from tunesmith.errors import ConfigError, GroupError, TrainingInterrupted, TunesmithError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import open_run
from tunesmith.train.train import train


def wants_group(processes: int | None, place: str, *, is_watched: bool = False) -> bool:
    """Whether a call is to start a group: not for one process, and not within torchrun's.

    Raises:
        ConfigError: no number of processes, another than torchrun's, or an observer, which the ranks cannot call.
    """
    if processes is not None and processes < 1:
        raise ConfigError(place, f"processes={processes}", expected="1 or more", remedy="leave processes out")
    if not needs_launch(processes):
        return False
    if is_watched:
        found, remedy = f"an observer and processes={processes}", "follow the run with `tunesmith studio`, or leave one of them out"
        raise ConfigError(place, found, expected="no observer: the processes cannot call it", remedy=remedy)
    return True


def run_in_group(call: str, arguments: Mapping[str, Any], *, processes: int) -> Path:
    """Run one of `CALLS` as a group of processes of this machine; the run directory it worked on.

    Raises:
        TunesmithError: what a rank raised.
        GroupError: a rank was killed, or failed for another reason, which it printed.
        KeyboardInterrupt: Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="tunesmith-call-") as folder, _as_it_was():
        file = Path(folder) / "call.json"
        file.write_text(json.dumps({"call": call, "arguments": dict(arguments)}), encoding="utf-8")
        code = launch([str(file)], processes=processes, module=__name__)
        ends = [json.loads(end.read_text(encoding="utf-8")) for end in sorted(file.parent.glob("end-*.json"))]
    # A rank that lost touch with the others says so, but the reason is what one of those says.
    for end in sorted((end for end in ends if "error" in end), key=lambda end: bool(end["error"]["kind"] == "GroupError")):
        raise _as_error(**end["error"])
    if code == TrainingInterrupted.exit_code:  # before there was anything to go on from
        raise KeyboardInterrupt
    if code:
        place, found = f"{call} over {processes} processes", f"it ended with exit code {code}"
        raise GroupError(place, found, expected="0", remedy="see what its processes printed")
    return Path(ends[0]["run"])


@contextmanager
def _as_it_was() -> Iterator[None]:
    """What the launcher changes in its process is the caller's again afterwards: Ctrl-C, and the environment."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
    environment = dict(os.environ)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]


def _as_error(kind: str, place: str, found: str, expected: str, remedy: str) -> TunesmithError:
    error: TunesmithError = getattr(errors, kind)(place, found, expected=expected, remedy=remedy)
    return error


def _train(config: Mapping[str, Any], runs_dir: str, name: str | None) -> Path:
    return train(TrainConfig(**config), runs_dir=Path(runs_dir), name=name).path


def _evaluate(run: str, config: Mapping[str, Any], dtype: str, device: str) -> Path:
    evaluate_run(open_run(Path(run)), EvaluateConfig(**config), dtype=dtype, device=device)
    return Path(run)


CALLS: dict[str, Callable[..., Path]] = {"train": _train, "evaluate": _evaluate}


def main(file: Path) -> int:
    """Be one rank: make the call, and leave how it ended beside the file."""
    task = json.loads(file.read_text(encoding="utf-8"))
    code, end = 0, dict[str, Any]()
    try:
        end = {"run": str(CALLS[task["call"]](**task["arguments"]))}
    except TunesmithError as error:
        fields = {"place": error.place, "found": error.found, "expected": error.expected, "remedy": error.remedy}
        code, end = error.exit_code, {"error": {"kind": type(error).__name__, **fields}}
    place = place_of_this_process()
    written = file.with_name(f"end-{place.rank if place else 0:05d}.json")
    partial = written.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(end), encoding="utf-8")
    partial.rename(written)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
