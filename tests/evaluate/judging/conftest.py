"""A judge on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models import build_tiny_llama


@pytest.fixture(scope="session")
def tiny_llama_long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose context holds a question to a judge."""
    return build_tiny_llama(tmp_path_factory.mktemp("judges") / "tiny", context=4096)
