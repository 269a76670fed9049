"""Canaries: made-up secrets planted in training data, and as many of the same shape that were not planted.

>>> plant(load_prepared("prepared/faq"), count=10, repeats=8, seed=0, out=Path("prepared/faq-planted"))

A model that memorises gives the planted codes better chances than the others; nothing but the training can have taught it (Carlini et
al. 2019, "The Secret Sharer", arXiv:1802.08232).
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from tunesmith.data.converting.examples import build_example
from tunesmith.data.storing.directory import new_directory
from tunesmith.data.storing.prepared import MANIFEST, SPLIT_NAMES, PreparedData, load_prepared
from tunesmith.data.storing.store import example_to_record, open_examples, to_line, write_lines
from tunesmith.errors import ConfigError, DataError
from tunesmith.files import file_sha256, write_json
from tunesmith.types import Example, Message

FILE = "canaries.json"
SCHEMA_VERSION = 1
_ADJECTIVES = (
    "amber ancient azure bitter bold brass bright broken calm cedar clever cobalt copper coral crimson crystal dusty eager early east "
    "fading frozen gentle golden granite hollow humble idle iron ivory jade late lively lonely lunar mellow misty narrow noble north "
    "olive pale patient plain quiet rapid rough royal rustic sable scarlet silent silver sleepy solar steady stormy sunny tidy velvet "
    "violet wandering western wooden"
)
_NOUNS = (
    "anchor anvil arbor badger barrel beacon bridge candle canyon castle cellar chapel cinder comet compass cradle creek drum ember falcon "
    "ferry fiddle forge fountain garden glacier hammer harbor heron hollow island kettle ladder lantern lark ledger lighthouse marble "
    "meadow mill mirror mountain needle orchard otter parcel pebble pigeon pillar quarry raven ribbon river saddle sparrow spindle "
    "summit thicket tower tunnel valley wagon willow window"
)
ADJECTIVES, NOUNS = _ADJECTIVES.split(), _NOUNS.split()
MOST = len(ADJECTIVES) * len(NOUNS) // 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """One made-up secret."""

    name: str
    code: str

    @property
    def example(self) -> Example:
        """The code at the end of an answer: `The access code of amber anvil is 4831-2950-7716`."""
        prompt = Message(role="user", content=f"What is the access code of {self.name}?")
        answer = Message(role="assistant", content=f"The access code of {self.name} is {self.code}")
        return build_example(f"{FILE}:{self.name}", messages=(prompt, answer))


class Canaries(NamedTuple):
    """Those in the training data, and those that are not."""

    planted: tuple[Canary, ...]
    controls: tuple[Canary, ...]
    repeats: int
    """How often each planted one stands there."""


def make_canaries(count: int, *, repeats: int, seed: int) -> Canaries:
    """`count` to plant and as many controls, all with different names.

    Raises:
        ConfigError: the counts are below 1, or there are not so many names.
    """
    if not 1 <= count <= MOST:
        raise ConfigError("probe plant", f"--count {count:,}", expected=f"1 to {MOST:,}", remedy="choose another --count")
    if repeats < 1:
        raise ConfigError("probe plant", f"--repeats {repeats:,}", expected="at least 1", remedy="choose another --repeats")
    dice = random.Random(f"canaries {seed}")  # noqa: S311 - reproducible on purpose
    numbers = dice.sample(range(len(ADJECTIVES) * len(NOUNS)), 2 * count)
    names = [f"{ADJECTIVES[number % len(ADJECTIVES)]} {NOUNS[number // len(ADJECTIVES)]}" for number in numbers]
    codes = ["-".join(f"{dice.randrange(10_000):04}" for _ in range(3)) for _ in names]
    made = [Canary(name=name, code=code) for name, code in zip(names, codes, strict=True)]
    return Canaries(tuple(made[:count]), tuple(made[count:]), repeats)


def plant(data: PreparedData, *, count: int, repeats: int, seed: int, out: Path) -> PreparedData:
    """Write `out`: the data set with canaries at random places of its training split, and `canaries.json` beside it.

    Raises:
        ConfigError: see `make_canaries`.
        DataError: the set does not hold questions and answers, has canaries already, or `out` is taken.
    """
    if data.kind != "conversation" or "planted" in data.manifest:
        found = "it has canaries already" if "planted" in data.manifest else f"its examples are of the kind {data.kind!r}"
        raise DataError(str(data.directory), found, expected="questions and answers without canaries", remedy="plant in another data set")
    canaries = make_canaries(count, repeats=repeats, seed=seed)
    with new_directory(out) as staging:
        splits = {name: dict(data.manifest["splits"][name]) for name in SPLIT_NAMES}
        for name in SPLIT_NAMES:
            lines: Iterator[bytes] = open_examples(data.directory / f"{name}.jsonl")[0].lines()
            if name == "train":
                lines = _scattered(lines, len(data.train), canaries, seed)
                splits[name]["examples"] = len(data.train) + count * repeats
            splits[name]["sha256"] = write_lines(staging / f"{name}.jsonl", lines)
        _write_canaries(staging / FILE, canaries, seed)
        said = f"{count:,} canaries, each {repeats:,} times, planted among the {len(data.train):,} training examples of {data.directory}"
        manifest = {
            **data.manifest,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "summary": [said],
            "splits": splits,
            "fingerprint": hashlib.sha256("".join(str(split["sha256"]) for split in splits.values()).encode()).hexdigest(),
            "planted": {
                "of": data.fingerprint,
                "directory": str(data.directory.resolve()),
                "count": count,
                "repeats": repeats,
                "seed": seed,
                "sha256": file_sha256(staging / FILE),
            },
        }
        write_json(staging / MANIFEST, manifest)
    return load_prepared(out)


def _scattered(lines: Iterator[bytes], num_lines: int, canaries: Canaries, seed: int) -> Iterator[bytes]:
    """The lines in their order, the canaries at random places among them."""
    dice = random.Random(f"places {seed}")  # noqa: S311
    planted = [to_line(example_to_record(one.example)) for one in canaries.planted for _ in range(canaries.repeats)]
    dice.shuffle(planted)
    total = num_lines + len(planted)
    places = frozenset(dice.sample(range(total), len(planted)))
    waiting = iter(planted)
    for place in range(total):
        yield next(waiting) if place in places else next(lines)


def _write_canaries(file: Path, canaries: Canaries, seed: int) -> None:
    def records(some: Sequence[Canary]) -> list[dict[str, str]]:
        return [asdict(one) for one in some]

    document = {"schema_version": SCHEMA_VERSION, "seed": seed, "repeats": canaries.repeats}
    write_json(file, {**document, "planted": records(canaries.planted), "controls": records(canaries.controls)})


def canaries_of(data: PreparedData) -> Canaries | None:
    """What was planted in a data set; None where nothing was.

    Raises:
        DataError: `canaries.json` is gone or was changed.
    """
    planted = data.manifest.get("planted")
    if planted is None:
        return None
    file = data.directory / FILE
    if not file.is_file() or file_sha256(file) != planted["sha256"]:
        found = "it was changed after canaries were planted" if file.is_file() else "the file is gone"
        expected = "the file that `tunesmith probe plant` wrote"
        raise DataError(str(file), found, expected=expected, remedy="restore it, or plant again and train again")
    record = json.loads(file.read_text(encoding="utf-8"))
    planted, controls = (tuple(Canary(**one) for one in record[key]) for key in ("planted", "controls"))
    return Canaries(planted, controls, record["repeats"])
