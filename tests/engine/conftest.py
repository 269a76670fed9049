"""Tiny networks, loaded once and copied for every test that changes them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from tunesmith.engine.loading import LoadedModel, load_model

CPU = torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny matrices are slower on two."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def loaded_llama(tiny_llama: Path) -> LoadedModel:
    return load_model(tiny_llama, dtype=torch.float32, device=CPU)


@pytest.fixture(scope="session")
def loaded_gemma(tiny_gemma: Path) -> LoadedModel:
    return load_model(tiny_gemma, dtype=torch.float32, device=CPU)


@pytest.fixture(params=["llama", "gemma"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    """Both architectures in turn; not to be changed."""
    model: LoadedModel = request.getfixturevalue(f"loaded_{request.param}")
    return model


@pytest.fixture
def network(loaded: LoadedModel) -> PreTrainedModel:
    """Both architectures in turn, a copy to be changed at will."""
    return copy.deepcopy(loaded.network)


@pytest.fixture
def in_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention in plain torch, also where the native kernel could do it."""
    monkeypatch.setattr("tunesmith.engine.attention.native.usable", lambda *tensors: False)


@pytest.fixture(params=["as it comes", "batched", "fused"])
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All attention paths: the native kernel where there is one; short segments in batched products, long ones (here: over
    6 tokens) in the fused kernel."""
    if request.param != "as it comes":
        request.getfixturevalue("in_buckets")
    if request.param == "fused":
        monkeypatch.setattr("tunesmith.engine.bucket_attention.LONG_SEGMENT", 6)
    return str(request.param)
