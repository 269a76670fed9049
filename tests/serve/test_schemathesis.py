"""The OpenAPI document is true: what it allows is understood, what it does not is refused, in the shapes it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve.conftest import BASE, OTHER, TUNED, Served, serving
from tunesmith.together import ServedModel

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed (it is in the extra `dev`)")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402 - schemathesis brings it
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

NOT_UNDERSTOOD = {"invalid_value", "unknown_parameter", "unsupported_parameter", "missing_required_parameter", "invalid_json"}
"""Codes that what the document allows must not meet; other 400s are about what parameters mean together."""
QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def asked(models: tuple[ServedModel, ...]) -> Iterator[Served]:
    with serving(models, max_tokens=4) as one:
        yield one
        one.wait_until(one.is_empty)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=str)
def test_the_document_is_true(asked: Served, mode: Any) -> None:
    document = schemathesis.openapi.from_url(f"{asked.address}/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) == 7
    statuses: set[int] = set()
    for operation in operations:
        if mode.is_negative and not operation.body:
            continue  # there is nothing to do wrong: a model's name is any text

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            if isinstance(case.body, dict) and mode.is_positive:
                case.body["model"] = (TUNED, OTHER, BASE)[len(case.body["model"]) % 3]  # names are not in the document
            answer = case.call_and_validate(timeout=20, excluded_checks=[positive_data_acceptance])
            statuses.add(answer.status_code)
            if mode.is_positive and answer.status_code == 400:
                assert answer.json()["error"]["code"] not in NOT_UNDERSTOOD, answer.text

        check()
    assert statuses >= ({200, 400} if mode.is_positive else {400})
