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
from tunesmith.train.start import Start, find_start
from tunesmith.train.strategy import is_spread


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lora": {"dora": True}}, "DoRA"),
        ({"new_tokens": ("<a>", "<b>")}, "<a>, <b>"),
        ({"optimizer": "adafactor", "method": "full"}, "Adafactor"),
    ],
)
def test_what_is_not_done_with_spread_weights(settings: Callable[..., TrainConfig], changes: dict[str, Any], named: str) -> None:
    config = settings(strategy="fsdp", **changes)
    with pytest.raises(ConfigError, match=f"--strategy fsdp: .*{named}.*--strategy ddp"):
        refuse_unspreadable(find_start(config.model), config)


def test_going_on_with_an_adapter(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    class Continued(Start):
        adapter_dir = tmp_path / "faq" / "model"

    config = settings(strategy="fsdp")
    start = find_start(config.model)
    with pytest.raises(ConfigError, match=r"adapter of .*faq.*--strategy ddp"):
        refuse_unspreadable(Continued(**{name: getattr(start, name) for name in start.__dataclass_fields__}), config)


def test_offloading_needs_gpus(settings: Callable[..., TrainConfig]) -> None:
    config = settings(strategy="fsdp", cpu_offload=True)
    with pytest.raises(ConfigError, match=r"--cpu-offload: .*leave out"):
        refuse_unspreadable(find_start(config.model), config)


def test_a_process_alone_holds_all(settings: Callable[..., TrainConfig]) -> None:
    assert not is_spread(settings(strategy="fsdp"), Group())
    assert is_spread(settings(strategy="fsdp"), Group(size=2))
    assert not is_spread(settings(strategy="ddp"), Group(size=2))
