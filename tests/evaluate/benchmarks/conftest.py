"""One folder of small benchmarks for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("lm_eval", reason="needs the extra: pip install 'tunesmith[bench]'")

from tests.evaluate.benchmarks.local_data import write_arc, write_hellaswag, write_truthful


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of these data sets stays behind, and what the harness loads by itself is not another test's."""
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        patch.setattr("tunesmith.evaluate.benchmarks.sources.cache_dir", lambda: tmp_path_factory.getbasetemp() / "tunesmith-cache")
        yield


@pytest.fixture(scope="session")
def eval_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ARC, HellaSwag and TruthfulQA, not to be changed."""
    root = tmp_path_factory.mktemp("eval")
    write_arc(root)
    write_hellaswag(root)
    write_truthful(root)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
