"""The nearest rows are those of the whole product, in blocks too, dense or sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tunesmith.data.comparing.nearest import AT_ONCE, nearest_rows
from tunesmith.data.comparing.stop_words import STOP_WORDS


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_nearest_rows_are_those_of_the_whole_product(form: Any) -> None:
    random = np.random.default_rng(0)
    wanted, known = (random.integers(0, 3, (rows, 4)).astype(float) for rows in (AT_ONCE + 3, 20))
    whole = wanted @ known.T
    order = np.argsort(-whole, axis=1, kind="stable")[:, :5]
    found = nearest_rows(form(wanted), form(known), 5)
    assert (found.places == order).all()  # equal ones in their order: whole numbers make many
    assert (found.similarities == np.take_along_axis(whole, order, axis=1)).all()


def test_no_more_than_there_are() -> None:
    found = nearest_rows(np.ones((2, 3)), np.ones((1, 3)), 5)
    assert found.places.tolist() == [[0], [0]]
    assert nearest_rows(np.ones((0, 3)), np.ones((1, 3)), 5).places.shape == (0, 1)


def test_stop_words_are_no_subjects() -> None:
    assert {"the", "how", "your", "without"} <= STOP_WORDS
    assert not STOP_WORDS & {"bill", "call", "fire", "interest", "system", "computer", "mill"}
    assert all(word == word.casefold() for word in STOP_WORDS)
