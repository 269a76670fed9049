"""The arithmetic of a forecast, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunesmith.train.forecast import (
    Forecast,
    Measured,
    Measurement,
    Range,
    Workload,
    compare,
    comparison_sentence,
    fit_speed,
    gigabytes,
    in_words,
    make_forecast,
    range_in_words,
)


def measured(tokens: int, seconds: float, first: float | None = None, peak: int = 0) -> Measured:
    return Measured(tokens=tokens, seconds=seconds, first_seconds=seconds if first is None else first, peak_bytes=peak)


def measurement(**changes: Any) -> Measurement:
    """0.5 s and 0.01 s a token; 100 bytes, 2 a token."""
    values: dict[str, Any] = {
        "short": measured(50, 1.0, peak=200),
        "typical": measured(150, 2.0, peak=400),
        "worst": measured(450, 5.0, peak=1000),
        "base_bytes": 100,
        "earlier_peak_bytes": 300,
        "update_seconds": 0.25,
        "seconds": 9.0,
    }
    return Measurement(**{**values, **changes})


def workload(**changes: Any) -> Workload:
    values: dict[str, Any] = {
        "step_tokens": (100, 200, 900, 200),
        "tokens_per_micro_batch": 450,
        "num_steps_per_epoch": 2.0,
        "validation_tokens": 300,
        "validate_every": 2,
        "reference_tokens": 0,
        "forward_share": 0.5,
        "weights_bytes": 40,
        "masters_bytes": 20,
        "gradient_bytes": 20,
        "moments_bytes": 60,
    }
    return Workload(**{**values, **changes})


def test_the_line_through_three_points() -> None:
    speed = fit_speed(measurement())
    assert (speed.overhead, speed.per_token, speed.first_factor) == pytest.approx((0.5, 0.01, 1.0))


def test_an_overhead_is_never_negative_and_one_size_is_enough() -> None:
    steep = fit_speed(measurement(worst=measured(450, 50.0)))
    assert (steep.overhead, steep.per_token) == pytest.approx((0.0, 2 / 150))
    same = fit_speed(measurement(short=measured(150, 2.0), worst=measured(150, 2.0)))
    assert same.step(150, 1) == pytest.approx(2.0)
    falling = fit_speed(measurement(short=measured(50, 9.0)))
    assert falling.per_token == 0.0


def test_every_step_is_added_up() -> None:
    forecast = make_forecast(measurement(), workload(), room_bytes=5000)
    # 1,400 tokens, five micro-batches (the step of 900 has two), four updates; two validations of 300 tokens, forward only
    steps = 1400 * 0.01 + 5 * 0.5 + 4 * 0.25
    validation = 0.5 * (300 * 0.01 + 0.5)
    assert forecast.seconds.expected == pytest.approx(steps + 2 * validation)
    assert forecast.seconds.low == pytest.approx(0.9 * forecast.seconds.expected)
    assert forecast.seconds.high == pytest.approx(1.1 * forecast.seconds.expected)
    assert forecast.step_seconds.expected == pytest.approx(steps / 4)
    assert forecast.epoch_seconds.expected == pytest.approx((steps + 2 * validation) / 2)
    assert forecast.seconds_for(4, 2) == pytest.approx(forecast.seconds.expected)
    assert (forecast.num_steps, forecast.num_validations, forecast.room_bytes) == (4, 2, 5000)


def test_lengths_met_for_the_first_time_take_longer() -> None:
    slow = measurement(typical=measured(150, 2.0, first=40.0), worst=measured(450, 5.0, first=10.0))
    forecast = make_forecast(slow, workload(validation_tokens=0), room_bytes=5000)
    warm, updates = 1400 * 0.01 + 5 * 0.5, 1.0
    assert forecast.seconds.low == pytest.approx(0.9 * (warm + updates))
    assert forecast.seconds.expected == pytest.approx(warm * (1 + 3 / 4) + updates)  # three different lengths in four steps
    assert forecast.seconds.high == pytest.approx(1.1 * (2 * warm + updates))
    assert forecast.num_validations == 0


def test_the_starting_network_is_asked_once() -> None:
    plain, compared = (make_forecast(measurement(), workload(reference_tokens=n), 5000).seconds.expected for n in (0, 1000))
    assert compared - plain == pytest.approx(0.5 * (1000 * 0.01 + 3 * 0.5))


@pytest.mark.parametrize(
    ("changes", "writing", "peak"),
    [({}, 0, 1060), ({"earlier_peak_bytes": 2000}, 0, 2000), ({}, 5000, 5160)],
    ids=["step", "loading", "writing"],
)
def test_the_peak_is_the_most_of_step_loading_and_writing(changes: dict[str, int], writing: int, peak: int) -> None:
    assert make_forecast(measurement(**changes), workload(writing_bytes=writing), 9999).peak_bytes == peak


def test_the_parts_add_up_to_the_peak_of_a_step() -> None:
    forecast = make_forecast(measurement(), workload(), 9999)
    assert sum(forecast.parts.values()) == forecast.peak_bytes == 1060
    assert forecast.parts["activations of the worst micro-batch"] == 1000 - 100 - 20


def test_its_own_error() -> None:
    forecast = make_forecast(measurement(), workload(), 9999)
    error = compare(forecast, seconds=2 * forecast.seconds.expected, peak=1000, num_steps=4, num_validations=2)
    assert (error["seconds_error"], error["peak_error"]) == pytest.approx((-0.5, 0.06))
    assert comparison_sentence({**error, "estimated_peak_bytes": 2.6e9, "peak_bytes": 2.5e9}) == (
        "estimated 21 s and 2.60 GB, took 42 s and 2.50 GB (-50 %, +6 %)"
    )
    early = compare(forecast, seconds=1.0, peak=1000, num_steps=2, num_validations=1)
    assert early["estimated_seconds"] == pytest.approx(error["estimated_seconds"] / 2)


def test_it_survives_json() -> None:
    forecast = make_forecast(measurement(), workload(), 9999)
    assert Forecast.from_record(json.loads(json.dumps(forecast.record()))) == forecast


def test_words() -> None:
    assert [in_words(s) for s in (0.0, 0.004, 4.24, 42, 99.4, 726, 9000)] == [
        "0.0 s",
        "0.004 s",
        "4.2 s",
        "42 s",
        "99 s",
        "12.1 min",
        "2.5 h",
    ]
    assert range_in_words(Range(low=600, expected=726, high=900)) == "12.1 min (10.0 to 15.0)"
    assert [gigabytes(b) for b in (2.6e9, 16.44e9)] == ["2.60 GB", "16.4 GB"]
    sentence = make_forecast(measurement(), workload(), 9999).sentence()
    assert sentence.startswith("about 21 s (19 to 23), peak memory ")
