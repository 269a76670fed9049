"""What can go wrong with a request, each in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INVALID, SERVER, BUSY = "invalid_request_error", "server_error", "rate_limit_error"
"""Types of errors, as OpenAI names them."""

DO_NOT_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients would repeat what has just taken too long."""


class ApiError(Exception):
    """Answered to the client as it is; never a fault of ours unless its status is 500."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type, self.code, self.param = status, message, type, code, param
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """What the client reads."""
        param = None if self.param is None else _clean(self.param)
        return {"error": {"message": _clean(self.message), "type": self.type, "param": param, "code": self.code}}


def _clean(text: str) -> str:
    """What clients sent may hold halves of surrogate pairs, which cannot be written."""
    return text.encode("utf-8", "replace").decode()


def unknown_model(name: str) -> ApiError:
    """A name that none of ours has."""
    message = f"The model {name[:100]!r} does not exist here; /v1/models lists those that do."
    return ApiError(404, message, code="model_not_found", param="model")


def invalid(param: str | None, message: str, *, code: str | None = None) -> ApiError:
    """A parameter, or all of the body, is not as it should be."""
    return ApiError(400, message, code=code, param=param)


def context_exceeded(param: str, num_prompt: int, num_new: int, context_length: int) -> ApiError:
    """Prompt and completion together do not fit."""
    message = (
        f"This model's context has {context_length:,} tokens. The prompt takes {num_prompt:,} of them and the completion may take "
        f"{num_new:,}. Shorten the prompt or ask for fewer tokens; prompts are never cut here."
    )
    return ApiError(400, message, code="context_length_exceeded", param=param)


def bad_key(*, is_missing: bool) -> ApiError:
    """No key, or a wrong one."""
    what = "There is no key in the Authorization header" if is_missing else "The key is not one of this server's"
    message = f"{what}; send `Authorization: Bearer KEY` with a key made by `tunesmith serve --make-key NAME`."
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def foreign(message: str, code: str) -> ApiError:
    """A name or a web page that may not call."""
    return ApiError(403, message, code=code)


def too_busy(retry_after_seconds: int) -> ApiError:
    """No place, not even to wait."""
    message = f"All places are taken and so is the queue; come again in {retry_after_seconds} s."
    return ApiError(429, message, type=BUSY, code="queue_full", headers={"retry-after": str(retry_after_seconds)})


def never_room(number: int, most: int) -> ApiError:
    """More completions than there are places in all, whoever else asks: to come again would help nobody."""
    return invalid("n", f"{number:,} completions at once; this server has {most:,} places, those in which they wait included.")


def too_large(limit: int) -> ApiError:
    """The body, which is not read to its end."""
    return ApiError(413, f"The request's body is larger than {limit:,} bytes.", code="request_too_large", headers={"connection": "close"})


def too_slow(seconds: float) -> ApiError:
    """The body, of which the rest is not waited for."""
    headers = {"connection": "close", **DO_NOT_RETRY}
    return ApiError(408, f"The request's body did not come within {seconds:g} s.", code="request_timeout", headers=headers)


def took_too_long(seconds: float) -> ApiError:
    """An answer that did not come to its end in time."""
    message = f"The answer was not complete after {seconds:g} s, the most this server gives a request."
    return ApiError(504, message, type=SERVER, code="timeout", headers=DO_NOT_RETRY)


def shutting_down() -> ApiError:
    """The server is about to end."""
    headers = {"retry-after": "30", "connection": "close"}
    return ApiError(503, "The server is shutting down.", type=SERVER, code="shutting_down", headers=headers)


def failed() -> ApiError:
    """A fault of ours; what it is stays in the log."""
    return ApiError(500, "The server failed; its log says why.", type=SERVER, code="internal_error", headers=DO_NOT_RETRY)


def out_of_memory() -> ApiError:
    """A step had no memory; whose fault it was among those that it was for cannot be told."""
    message = "The server had no memory left for this request and those beside it. It takes others; shorter or fewer ones need less."
    return ApiError(503, message, type=SERVER, code="out_of_memory", headers=DO_NOT_RETRY)


def stuck() -> ApiError:
    """A decoder whose step does not end."""
    message = "This model does not answer at present: a step of its decoder does not end."
    return ApiError(503, message, type=SERVER, code="decoder_stuck", headers={"retry-after": "30"})
