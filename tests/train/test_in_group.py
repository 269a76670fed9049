"""What ranks make sure of before they train together, with threads for ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.fake_group import in_ranks
from tunesmith.config import TrainConfig
from tunesmith.errors import ConfigError, GroupError
from tunesmith.train import start, train
from tunesmith.train.fit import count_parameters, state_bytes
from tunesmith.train.observer import Silent
from tunesmith.train.start import find_start
from tunesmith.train.train import get_ready

Settings = Callable[..., TrainConfig]


def test_ranks_with_other_data_are_refused_before_anything_is_done_with_it(
    settings: Settings, faq: Path, faq_without_validation: Path
) -> None:
    """Sets of other sizes would have ranks wait for each other at different places."""
    configs = [settings(data=data, model="no-such-model") for data in (faq, faq, faq_without_validation)]
    for error in in_ranks(3, lambda group: get_ready(configs[group.rank], Silent(), group)):
        assert isinstance(error, GroupError)
        assert str(error).startswith("rank 2 of 3: the prepared data there differ from the other ranks'")


def test_ranks_with_other_settings_are_refused_at_once(settings: Settings) -> None:
    found = in_ranks(2, lambda group: get_ready(settings(seed=group.rank, model="no-such-model"), Silent(), group))
    assert [str(error).partition(" from ")[0] for error in found] == ["rank 1 of 2: the settings there differ"] * 2


def test_ranks_of_a_machine_share_its_memory(settings: Settings, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process could have is too little for two that hold all of the model each."""
    needed = state_bytes(count_parameters(tiny_llama), "full", torch.float32)
    monkeypatch.setattr(train, "room", lambda device, sharing: int(1.5 * needed) // sharing)
    config = settings(method="full", strategy="ddp")
    for error in in_ranks(2, lambda group: get_ready(config, Silent(), group)):
        assert isinstance(error, ConfigError)
        assert "memory: each of the 2 processes of this machine needs about" in str(error)
        assert "--strategy fsdp" in error.remedy
    assert get_ready(config, Silent(), train.ALONE).task.config.method == "full"


def test_a_base_is_looked_through_once(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(start, "weights_fingerprint", lambda directory: looked.append(directory) or "0123")
    found = find_start(str(tiny_llama))
    assert (found.weights, found.record()["weights"]) == ("0123", "0123")
    assert looked == [found.directory]
