"""The cache of keys and values while it grows."""

from __future__ import annotations

import torch

from tunesmith.engine.generation.slots import GROWTH, SlotCache


def test_growing_keeps_what_is_written_and_touches_nothing_else() -> None:
    cache = SlotCache(4)
    cache.reserve(GROWTH)
    keys, values = cache.layer(0, torch.ones(1, 2, 3, 8), torch.ones(1, 2, 3, 4))
    keys[:, :, :], values[:, :, :] = 1, 2
    cache.reserve(GROWTH + 1, kept={0: 5, 2: GROWTH})
    grown_keys, grown_values = cache.written(0)
    assert (grown_keys.shape, grown_values.shape) == ((4, 2, 2 * GROWTH, 8), (4, 2, 2 * GROWTH, 4))
    for grown, value in ((grown_keys, 1), (grown_values, 2)):
        written = (grown == value).all(dim=3).all(dim=1).sum(dim=1)
        assert written.tolist() == [5, 0, GROWTH, 0]
        assert (grown != 0).any(dim=3).any(dim=1).sum(dim=1).tolist() == [5, 0, GROWTH, 0]
