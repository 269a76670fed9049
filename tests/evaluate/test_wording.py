from __future__ import annotations

import pytest

from tunesmith.evaluate import wording
from tunesmith.evaluate.statistics import Interval


@pytest.mark.parametrize(("value", "text"), [(0.128, "+0.13"), (-0.74, "-0.74"), (-0.001, "0.00"), (0.0, "0.00")])
def test_signed(value: float, text: str) -> None:
    assert wording.signed(value, 2) == text


@pytest.mark.parametrize(("value", "text"), [(1e-9, "p < 0.001"), (0.031, "p = 0.031"), (0.42, "p = 0.42"), (1.0, "p = 1.00")])
def test_p_values(value: float, text: str) -> None:
    assert wording.p_text(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (7, "7"), (99, "99"), (411, "420"), (420, "420"), (1234, "1,300")])
def test_round_numbers_of_examples(count: int, text: str) -> None:
    assert wording.roughly(count) == text


@pytest.mark.parametrize(("width", "decimals"), [(0.4, 2), (0.004, 3), (1e-9, 4), (0.0, 2), (30.0, 2)])
def test_narrow_intervals_get_more_digits(width: float, decimals: int) -> None:
    assert wording.decimals_for(Interval(0.1, 0.1 + width), 2) == decimals


def test_shares_and_counts() -> None:
    assert (wording.share(2, 3), wording.share(0, 0)) == ("67 %", "–")
    assert (wording.counted(1, "answer"), wording.counted(1200, "answer")) == ("1 answer", "1,200 answers")
