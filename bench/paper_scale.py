"""The cost model of several processes, on paper: 8 and 64 GPUs, which are not here.

    python bench/scale.py --paper

Memory from `tunesmith/train/capacity.py`, operations and bytes from `tunesmith/train/pace.py`, rates from the makers' data sheets and
the share of them that is assumed below. Sending is added to computing in `ddp`, where it begins when the backward pass has ended;
`fsdp` gathers the next layer while this one computes, so it lies between the sum and the larger of the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tunesmith.config import LoraConfig, Method
from tunesmith.train.architecture import Architecture, describe, read_network
from tunesmith.train.capacity import Setup, Strategy, memory
from tunesmith.train.pace import Pace, pace

CONFIGS = Path(__file__).resolve().parents[1] / "tests" / "train" / "configs"

ROOM = 80e9
"""Of an NVIDIA H100 SXM5."""
RATE = 0.4 * 989e12
"""Operations a second: 989 TFLOP/s of dense bfloat16 products (NVIDIA H100 data sheet), of which 40 % are reached."""
LINK_SHARE = 0.8
"""Of a link's rate that collectives reach."""
TOKENS, LENGTH = 8192, 2048
"""Of a process at a time; of a sequence."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """GPUs and what is between them."""

    name: str
    processes: int
    link: float
    """Bytes a second that leave a process around the ring of all: of a machine's GPUs together where the ring leaves the machine."""
    tokens_per_step: int


NVLINK, INFINIBAND, ETHERNET = 450e9, 8 * 50e9, 12.5e9
"""NVLink 4: 900 GB/s of a GPU in both directions. Eight adapters of 400 Gb/s for the eight GPUs of a machine. One of 100 Gb/s."""
CLUSTERS = (
    Cluster(name="8, NVLink", processes=8, link=NVLINK, tokens_per_step=8 * TOKENS),
    Cluster(name="64, InfiniBand", processes=64, link=INFINIBAND, tokens_per_step=64 * TOKENS),
    Cluster(name="64, InfiniBand, the step of 8", processes=64, link=INFINIBAND, tokens_per_step=8 * TOKENS),
    Cluster(name="64, 100 Gb/s Ethernet", processes=64, link=ETHERNET, tokens_per_step=64 * TOKENS),
)
CASES: tuple[tuple[str, Method], ...] = (
    ("llama-3.2-1b", "full"),
    ("llama-3.1-8b", "lora"),
    ("llama-3.1-8b", "full"),
    ("llama-3.1-70b", "lora"),
    ("llama-3.1-70b", "qlora"),
    ("llama-3.1-70b", "full"),
)


class Row(NamedTuple):
    """Of one model, one method and one way to share it; memory and paces in the order of CLUSTERS."""

    model: str
    method: Method
    strategy: Strategy
    needs: list[int]
    paces: list[Pace]


def rows() -> Iterator[Row]:
    """Of every way that fits on some cluster; the layers of models of 8B and more are computed again in the backward pass."""
    for model, method in CASES:
        architecture = describe(read_network(CONFIGS / f"{model}.json"), method=method, lora=LoraConfig(rank=16))
        setup = Setup(method=method, device="cuda", itemsize=2, tokens=TOKENS, activation_checkpointing="1b" not in model)
        for strategy in ("ddp", "fsdp"):
            row = Row(model, method, strategy, *_reckoned(architecture, setup, strategy))
            if min(row.needs) <= ROOM:
                yield row


def _reckoned(architecture: Architecture, setup: Setup, strategy: Strategy) -> tuple[list[int], list[Pace]]:
    setups = [dataclasses.replace(setup, tokens_per_step=one.tokens_per_step) for one in CLUSTERS]
    needs = [memory(architecture, own, strategy, one.processes).total for one, own in zip(CLUSTERS, setups, strict=True)]
    paces = [
        pace(architecture, own, strategy, one.processes, length=LENGTH, rate=RATE, bandwidth=LINK_SHARE * one.link)
        for one, own in zip(CLUSTERS, setups, strict=True)
    ]
    return needs, paces


def print_paper() -> None:
    """Two tables in Markdown: memory and bytes; tokens a second."""
    found = list(rows())
    print("| model | way | memory of each of 8 | of each of 64 | sent by each of 8 in a step | by each of 64 |\n|---|---|---|---|---|---|")
    for row in found:
        needs = [f"{row.needs[n] / 1e9:.1f} GB{'' if row.needs[n] <= ROOM else ' (too much)'}" for n in (0, 1)]
        print(f"| {_name(row)} | {' | '.join([*needs, *(f'{row.paces[n].sent_bytes / 1e9:.2f} GB' for n in (0, 1))])} |")
    print(f"\n| model | way | {' | '.join(one.name for one in CLUSTERS)} |\n|---|---|{'---|' * len(CLUSTERS)}")
    for row in found:
        print(f"| {_name(row)} | {' | '.join(_speed(row, n) for n in range(len(CLUSTERS)))} |")


def _name(row: Row) -> str:
    return f"{row.model}, {row.method} | {row.strategy}"


def _speed(row: Row, number: int) -> str:
    """Thousands of tokens a second of all, and of what as many processes would do that need not speak."""
    if row.needs[number] > ROOM:
        return "does not fit"
    own = row.paces[number]
    assert own.tokens_per_second is not None
    assert own.compute_seconds is not None
    ideal = own.tokens / own.compute_seconds
    rates = own.tokens_per_second[:1] if row.strategy == "ddp" else own.tokens_per_second
    texts = [[f"{rate / 1e3:,.0f}", f"{100 * rate / ideal:.0f}"] for rate in rates]
    first, last = texts[0], texts[-1]
    return " to ".join(dict.fromkeys((first[0], last[0]))) + f" k/s ({' to '.join(dict.fromkeys((first[1], last[1])))} %)"
