"""Evaluated runs made by hand, and judges that answer over real HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.chat.endpoint import Endpoint
from tests.evaluate.fakes import record
from tunesmith.config import JudgeConfig
from tunesmith.evaluate.records import write_records
from tunesmith.runs import RunDirectory, create_run

CODE = re.compile(r"VERDICT-([0-9a-f]{6})")


def make_run(
    runs_dir: Path, name: str = "faq", *, base: Sequence[str] = ("bad answer",) * 12, tuned: Sequence[str] = ("good answer",) * 12
) -> RunDirectory:
    """A run whose models gave these answers."""
    run = create_run(runs_dir, name, {"config": {}, "model": {"name": "smol"}, "created": "2026-01-31"})
    run.evaluation_dir.mkdir()
    answers = enumerate(zip(base, tuned, strict=True))
    records = [record(base=old, tuned=new, name=f"e{i}", prompt=f"Question {i}?", reference="good answer") for i, (old, new) in answers]
    write_records(run.evaluation_records_file, records)
    return run


def part(prompt: str, name: str) -> str:
    """What stands between the marks called `name`."""
    return prompt.split(f"<<<{name}\n", 1)[1].split(f"\n{name}>>>", 1)[0]


def code_in(prompt: str) -> str:
    found = CODE.search(prompt)
    assert found
    return found[1]


def verdict(prompt: str, said: str, *, reason: str = "Because.") -> str:
    return f"{reason}\n\nVERDICT-{code_in(prompt)}: {said}"


def by_quality(quality: Callable[[str], float]) -> Callable[[str], str]:
    """A judge of pairs that knows how good an answer is."""

    def reply(prompt: str) -> str:
        one, other = quality(part(prompt, "ANSWER A")), quality(part(prompt, "ANSWER B"))
        return verdict(prompt, "A" if one > other else "B" if other > one else "TIE")

    return reply


def is_good(text: str) -> float:
    return float("good" in text)


def config_of(endpoint: Endpoint, **settings: Any) -> JudgeConfig:
    values = {"endpoint": endpoint.url, "endpoint_model": "m", "timeout_seconds": 5.0, "num_resamples": 100, **settings}
    return JudgeConfig(**values)
