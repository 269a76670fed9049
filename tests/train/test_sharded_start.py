"""What weights that are spread over processes cannot do is refused before anything is read, with what can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import TrainConfig
from tunesmith.distributed.group import Group
from tunesmith.errors import ConfigError
from tunesmith.train.sharded_start import refuse_unspreadable
from tunesmith.train.start import find_start
from tunesmith.train.strategy import is_spread
from tunesmith.train.train import train


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lora": {"dora": True}, "method": "qlora"}, "DoRA"),
        ({"new_tokens": ("<a>", "<b>"), "method": "freeze"}, "<a>, <b>"),
        ({"optimizer": "adafactor", "method": "full"}, "Adafactor"),
    ],
)
def test_what_is_not_done_with_spread_weights(settings: Callable[..., TrainConfig], changes: dict[str, Any], named: str) -> None:
    config = settings(strategy="fsdp", **changes)
    with pytest.raises(ConfigError, match=f"--strategy fsdp: .*{named}.*--strategy ddp"):
        refuse_unspreadable(find_start(config.model), config)


def test_folding_an_adapter_in(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    parent = train(settings(max_steps=1), runs_dir=tmp_path, name="faq")
    start = find_start(str(parent.path))
    refuse_unspreadable(start, settings(strategy="fsdp"))
    with pytest.raises(ConfigError, match=r"folding the adapter of .*faq.*--method lora.*--strategy ddp"):
        refuse_unspreadable(start, settings(strategy="fsdp", method="full"))


def test_offloading_needs_gpus(settings: Callable[..., TrainConfig]) -> None:
    config = settings(strategy="fsdp", cpu_offload=True)
    with pytest.raises(ConfigError, match=r"--cpu-offload: .*leave out"):
        refuse_unspreadable(find_start(config.model), config)


def test_a_process_alone_holds_all(settings: Callable[..., TrainConfig]) -> None:
    assert not is_spread(settings(strategy="fsdp"), Group())
    assert is_spread(settings(strategy="fsdp"), Group(size=2))
    assert not is_spread(settings(strategy="ddp"), Group(size=2))
