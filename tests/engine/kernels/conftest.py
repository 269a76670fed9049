"""Both ways of every operation: the native kernels, where there is a compiler, and plain torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tunesmith.engine.kernels import native


def needs_compiler() -> None:
    if native.library().handle is None:
        pytest.skip(native.library().reason)


@pytest.fixture(params=["native", "plain"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "native":
        needs_compiler()
    with native.plain_torch() if request.param == "plain" else nullcontext():
        yield request.param


@pytest.fixture
def compiled() -> None:
    """Skips where no kernel can be compiled."""
    needs_compiler()
