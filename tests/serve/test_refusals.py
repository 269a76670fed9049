"""What is refused, how, and that the error names the parameter."""

from __future__ import annotations

import http.client
import json
from typing import Any

import httpx2
import openai
import pytest

from tests.serve.conftest import QUESTION, TUNED, Served

CHAT: dict[str, Any] = {"model": TUNED, "messages": QUESTION, "max_tokens": 4}
TEXT: dict[str, Any] = {"model": TUNED, "prompt": "one two", "max_tokens": 4}
LONG = "red " * 400


def image(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": "data:,"}}]}]


WRONG: list[tuple[str, dict[str, Any], str | None, str | None]] = [
    ("chat", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
    ("chat", {"tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
    ("chat", {"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
    ("chat", {"logit_bias": {"5": 10}}, "logit_bias", "unsupported_parameter"),
    ("chat", {"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter"),
    ("chat", {"presence_penalty": -1}, "presence_penalty", "unsupported_parameter"),
    ("chat", {"store": True}, "store", "unsupported_parameter"),
    ("chat", {"reasoning_effort": "high"}, "reasoning_effort", "unsupported_parameter"),
    ("chat", {"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
    ("chat", {"response_format": {"type": "yaml"}}, "response_format", "invalid_value"),
    (
        "chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
        "response_format.json_schema.name",
        "invalid_value",
    ),
    (
        "chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "colour"}}}},
        "response_format",
        "invalid_schema",
    ),
    (
        "chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "file:///etc/passwd"}}}},
        "response_format",
        "invalid_schema",
    ),
    ("chat", {"colour": "red"}, "colour", "unknown_parameter"),
    ("chat", {"messages": []}, "messages", "invalid_value"),
    ("chat", {"messages": image("what is this")}, "messages[0].content[1].type", "invalid_value"),
    ("chat", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]", "invalid_value"),
    ("chat", {"messages": [*QUESTION, {"role": "assistant", "content": "x"}]}, "messages", None),
    ("chat", {"messages": [{"role": "user", "content": "x", "name": "bob"}]}, "messages[0].name", "unsupported_parameter"),
    ("chat", {"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "invalid_value"),
    ("text", {"prompt": "\ud800"}, "prompt", "invalid_value"),
    ("chat", {"messages": [{"role": "user", "content": LONG}]}, "messages", "context_length_exceeded"),
    ("chat", {"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ("chat", {"max_tokens": 2000}, "max_tokens", None),
    ("chat", {"max_tokens": 250}, "messages", "context_length_exceeded"),
    ("chat", {"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", None),
    ("chat", {"temperature": 3}, "temperature", "invalid_value"),
    ("chat", {"temperature": "0"}, "temperature", "invalid_value"),
    ("chat", {"repetition_penalty": 1e-40}, "repetition_penalty", "invalid_value"),
    ("chat", {"n": 0}, "n", "invalid_value"),
    ("chat", {"n": 17}, "n", None),
    ("chat", {"top_logprobs": 3}, "top_logprobs", None),
    ("chat", {"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
    ("chat", {"stop": [""]}, "stop[0]", "invalid_value"),
    ("chat", {"stop": ["x"] * 17}, "stop", "invalid_value"),
    ("chat", {"stop": "x" * 300}, "stop", "invalid_value"),
    ("chat", {"stream_options": {"include_usage": True}}, "stream_options", None),
    ("chat", {"seed": 2**63}, "seed", "invalid_value"),
    ("text", {"suffix": "the end"}, "suffix", "unsupported_parameter"),
    ("text", {"echo": True}, "echo", "unsupported_parameter"),
    ("text", {"best_of": 3}, "best_of", "unsupported_parameter"),
    ("text", {"prompt": ""}, "prompt", None),
    ("text", {"prompt": []}, "prompt", "invalid_value"),
    ("text", {"prompt": [[5], []]}, "prompt[1]", "invalid_value"),
    ("text", {"prompt": [999_999]}, "prompt", None),
    ("text", {"prompt": [[5], [-1]]}, "prompt[1][0]", "invalid_value"),
    ("text", {"prompt": LONG}, "prompt", "context_length_exceeded"),
    ("text", {"prompt": ["x"] * 17}, "n", None),
    ("text", {"logprobs": True}, "logprobs", "invalid_value"),
]


@pytest.mark.parametrize(
    ("kind", "changes", "param", "code"), WRONG, ids=[f"{kind}-{param}-{i}" for i, (kind, _, param, _) in enumerate(WRONG)]
)
def test_a_mistake_is_a_400_that_names_its_parameter(
    served: Served, kind: str, changes: dict[str, Any], param: str | None, code: str | None
) -> None:
    path, body = ("chat/completions", CHAT) if kind == "chat" else ("completions", TEXT)
    answer = httpx2.post(f"{served.address}/v1/{path}", content=_dumped({**body, **changes}), headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == 400, answer.text
    assert error["type"] == "invalid_request_error"
    assert (error["param"], error["code"]) == (param, code), error
    assert error["message"]


def test_a_slip_of_the_pen_is_told_what_was_meant(served: Served) -> None:
    def said(name: str) -> str:
        answer = httpx2.post(f"{served.address}/v1/chat/completions", json={**CHAT, name: 1})
        message: str = answer.json()["error"]["message"]
        return message

    assert said("temprature") == "There is no parameter temprature. Did you mean temperature?"
    assert said("colour") == "There is no parameter colour."


def _dumped(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize("name", ["\ud800", "", "a" * 10_000, "x\n{}"])
def test_odd_names_of_parameters(served: Served, name: str) -> None:
    answer = httpx2.post(
        f"{served.address}/v1/completions", content=_dumped({**TEXT, name: 1}), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert len(answer.text) < 1000


def test_the_messages_read_well(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"tools is not supported by this server") as refused:
        client.chat.completions.create(model=TUNED, messages=QUESTION, tools=[{"type": "function", "function": {"name": "f"}}])
    assert refused.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match=r"context has 256 tokens\. The prompt takes .* never cut") as too_long:
        client.chat.completions.create(model=TUNED, messages=[{"role": "user", "content": LONG}])
    assert too_long.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"model": NaN', b"[1, 2]", b'"text"', b"\xff\xfe", b"null", b'{"seed": ' + b"9" * 5000 + b"}", b"[" * 100_000],
    ids=["empty", "half", "nan", "list", "string", "no-utf8", "null", "huge-number", "deep"],
)
def test_what_is_no_json_object_is_a_400(served: Served, content: bytes) -> None:
    answer = httpx2.post(f"{served.address}/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p", "repetition_penalty"])
@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_what_json_calls_no_number_is_a_400_and_hurts_nobody(served: Served, name: str, value: str) -> None:
    content = _dumped(CHAT)[:-1] + f', "{name}": {value}}}'.encode()
    answer = httpx2.post(f"{served.address}/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == name
    assert httpx2.get(f"{served.address}/health").status_code == 200


def test_a_body_of_another_type_is_a_400(served: Served) -> None:
    answer = httpx2.post(f"{served.address}/v1/chat/completions", content=_dumped(CHAT), headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["nowhere", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "runs/faq", "\\\\host\\share", "x" * 400])
def test_an_unknown_model(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model=name, messages=QUESTION)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve(name)
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    "path", ["/v1/models/../../../etc/passwd", "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/etc/passwd", "/v1/embeddings"]
)
def test_paths_lead_nowhere(served: Served, path: str) -> None:
    connection = http.client.HTTPConnection(served.address.removeprefix("http://"))  # sends the path as it is
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"root:" not in answer.read()


def test_another_method_is_refused_in_the_same_shape(served: Served) -> None:
    answer = httpx2.get(f"{served.address}/v1/chat/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"
