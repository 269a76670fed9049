"""Metrics, log lines, ids."""

from __future__ import annotations

import json
import logging

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.conftest import QUESTION, TUNED, Served, serving
from tunesmith.serve.telemetry import JsonFormatter
from tunesmith.together import ServedModel

CHAT = {"model": TUNED, "messages": QUESTION, "max_tokens": 5}
SECRET = "What is 1 and red?"


def _labels(**labels: str) -> str:
    return json.dumps(labels, sort_keys=True)


def samples(served: Served) -> dict[str, float]:
    text = httpx2.get(f"{served.address}/metrics").text
    return {f"{one.name}{_labels(**one.labels)}": one.value for family in text_string_to_metric_families(text) for one in family.samples}


def test_metrics_count_what_happened(models: tuple[ServedModel, ...]) -> None:
    with serving(models) as served:
        usage = httpx2.post(f"{served.address}/v1/chat/completions", json=CHAT).json()["usage"]
        httpx2.post(f"{served.address}/v1/chat/completions", json={**CHAT, "model": "nowhere"})
        httpx2.get(f"{served.address}/made-up/{'x' * 50}")
        found = samples(served)
    label = _labels(route="/v1/chat/completions", model=TUNED, status="200")
    assert found[f"tunesmith_requests_total{label}"] == 1
    unknown = _labels(route="/v1/chat/completions", model="", status="404")
    assert found[f"tunesmith_requests_total{unknown}"] == 1, "names that clients make up are no labels"
    assert found[f"tunesmith_requests_total{_labels(route='other', model='', status='404')}"] == 1
    model = _labels(model=TUNED)
    assert found[f"tunesmith_prompt_tokens_total{model}"] == usage["prompt_tokens"]
    assert found[f"tunesmith_completion_tokens_total{model}"] == usage["completion_tokens"]
    assert found[f"tunesmith_time_to_first_token_seconds_count{model}"] == 1
    assert found[f"tunesmith_time_per_token_seconds_count{model}"] == 1
    assert found["tunesmith_batch_size_count{}"] == usage["completion_tokens"]
    assert (found["tunesmith_queue_length{}"], found["tunesmith_running{}"], found["tunesmith_healthy{}"]) == (0, 0, 1)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    made = [json.loads(JsonFormatter().format(record)) for record in caplog.records if record.name == "tunesmith.serve"]
    return [line for line in made if line["event"] == "request"]


@pytest.mark.parametrize("log_prompts", [False, True])
def test_a_line_for_each_request(models: tuple[ServedModel, ...], caplog: pytest.LogCaptureFixture, log_prompts: bool) -> None:
    with serving(models, log_prompts=log_prompts) as served, caplog.at_level(logging.INFO, logger="tunesmith.serve"):
        answer = httpx2.post(f"{served.address}/v1/chat/completions", json=CHAT, headers={"x-request-id": "my-own.id"})
        httpx2.post(f"{served.address}/v1/chat/completions", json={**CHAT, "stream": True}, headers={"x-request-id": "bad id"})
        served.wait_until(lambda: len(lines(caplog)) == 2)
    first, second = lines(caplog)
    assert answer.headers["x-request-id"] == first["id"] == "my-own.id"
    assert str(second["id"]).startswith("req-")
    assert first["status"] == second["status"] == 200
    assert first["model"] == TUNED
    assert first["completion_tokens"] == second["completion_tokens"] == answer.json()["usage"]["completion_tokens"]
    assert second["stream"] is True
    assert isinstance(first["first_token_seconds"], float)
    text = json.dumps([first, second])
    assert (SECRET in text) == log_prompts
    assert (answer.json()["choices"][0]["message"]["content"] in [str(one) for one in first.get("answers", [])]) == log_prompts  # type: ignore[attr-defined]


def test_a_line_cannot_be_forged() -> None:
    record = logging.makeLogRecord({"msg": "request", "levelname": "INFO", "fields": {"path": 'x\n{"event": "forged"}\u2028'}})
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["path"].startswith("x\n")
