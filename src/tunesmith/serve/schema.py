"""What clients may send, as OpenAI's API has it: supported, harmless, and refused by name.

A parameter that would change the answer and that we do not support is declared with the one value that changes nothing
(`frequency_penalty` 0, no `tools`); anything else is refused, and the OpenAPI document says so. Unknown names are refused too. The first
wrong item of a list is enough: a body can hold a hundred thousand of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MOST_MESSAGES = 1024
"""Of one conversation: chat templates are applied once for every answer in it."""
MOST_STOPS, LONGEST_STOP = 16, 256
"""Stop strings of a request, and characters of each: text is held back while it may yet become one."""
MOST_TOP_LOGPROBS = 20
SMALLEST_SEED, LARGEST_SEED = -(2**63), 2**63 - 1


class Unsupported:
    """Marks a parameter that has no effect here, so that errors can say that rather than name a type."""


def _is_unicode(text: str) -> str:
    """JSON can write halves of surrogate pairs, which are no characters and which no tokenizer takes."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds half a surrogate pair, which is no character")
    return text


def _as_whole(value: Any) -> Any:
    """JSON has one kind of numbers: 5.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


UNSUPPORTED = Unsupported()
WHOLE = BeforeValidator(_as_whole)
"""Goes behind the bounds, which the OpenAPI document would lack otherwise."""
Text = Annotated[str, AfterValidator(_is_unicode)]
Nothing = Annotated[None, UNSUPPORTED]
"""A parameter that must be left out or null."""
Zero = Annotated[float, Field(ge=0, le=0)]
StopString = Annotated[Text, Field(min_length=1, max_length=LONGEST_STOP)]
TokenIds = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]], Field(fail_fast=True, min_length=1)]


class Body(BaseModel):
    """Base: as strict as JSON is (which has no NaN, though Python reads it), unknown names refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TextPart(Body):
    """A part of a message's content; images and sound are refused."""

    type: Literal["text"]
    text: Text


Content = Text | Annotated[list[TextPart], Field(fail_fast=True)]


class SystemMessage(Body):
    """Instructions; `developer` is another name for it."""

    role: Literal["system", "developer"]
    content: Content
    name: Nothing = None


class UserMessage(Body):
    """What the user says."""

    role: Literal["user"]
    content: Content
    name: Nothing = None


class AssistantMessage(Body):
    """An earlier answer."""

    role: Literal["assistant"]
    content: Content
    name: Nothing = None
    refusal: Nothing = None
    audio: Nothing = None
    tool_calls: Annotated[list[Any], Field(max_length=0), UNSUPPORTED] | None = None
    function_call: Nothing = None
    annotations: list[Any] | None = None
    """Not looked at."""


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


class StreamOptions(Body):
    """Of a stream."""

    include_usage: bool | None = None
    """A last piece with the numbers of tokens."""
    include_obfuscation: Literal[False] | None = None


class TextFormat(Body):
    """Whatever the model says."""

    type: Literal["text"]


class JsonObjectFormat(Body):
    """A JSON object."""

    type: Literal["json_object"]


class JsonSchemaSpec(Body):
    """What the answer must be: JSON Schema 2020-12, checked when it is whole."""

    name: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    definition: dict[str, Any] = Field(default_factory=dict, alias="schema")
    description: Text | None = None
    """Not looked at."""
    strict: bool | None = None
    """Not looked at: what is given is always by the schema."""


class JsonSchemaFormat(Body):
    """JSON by a schema; an answer that is not is made anew, and an error if it never is."""

    type: Literal["json_schema"]
    json_schema: JsonSchemaSpec


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class Generating(Body):
    """What both kinds of request share."""

    model: str = Field(min_length=1, max_length=512)
    """A name that /v1/models lists."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 takes the likeliest token each time. The server's own default where it is left out (0 unless set otherwise)."""
    top_p: float | None = Field(default=None, ge=0, le=1)
    """Draw from the likeliest tokens with this probability."""
    top_k: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    """Draw from this many likeliest tokens. An extension to OpenAI's parameters, as in vLLM."""
    min_p: float | None = Field(default=None, ge=0, lt=1)
    """Draw from tokens at least this fraction as likely as the likeliest. An extension."""
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=10)
    """Above 1, tokens that came before become less likely. An extension."""
    n: Annotated[int, Field(ge=1, le=128), WHOLE] | None = None
    """Completions of each prompt; the server's limit counts all of a request."""
    stop: StopString | Annotated[list[StopString], Field(fail_fast=True, max_length=MOST_STOPS)] | None = None
    """End before the first of these texts."""
    seed: Annotated[int, Field(ge=SMALLEST_SEED, le=LARGEST_SEED), WHOLE] | None = None
    """The same seed gives the same completion; without one every request draws anew."""
    stream: bool | None = None
    """Send the completion as it comes, by server-sent events."""
    stream_options: StreamOptions | None = None
    """With `stream` alone."""
    user: str | None = None
    """Not looked at."""
    frequency_penalty: Annotated[Zero, UNSUPPORTED] | None = None
    presence_penalty: Annotated[Zero, UNSUPPORTED] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0), UNSUPPORTED] | None = None


class ChatRequest(Generating):
    """Of /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=MOST_MESSAGES)]
    """The conversation; the user's message comes last."""
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    """Most tokens of a completion."""
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    """The older name of the same."""
    logprobs: bool | None = None
    """Give the log-probability of every token."""
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS), WHOLE] | None = None
    """And of this many likeliest ones in its place; with `logprobs` alone."""
    response_format: ResponseFormat | None = None
    """Text, or JSON that is checked; nothing steers the model towards it but the prompt."""
    tools: Annotated[list[Any], Field(max_length=0), UNSUPPORTED] | None = None
    tool_choice: Annotated[Literal["none", "auto"], UNSUPPORTED] | None = None
    functions: Annotated[list[Any], Field(max_length=0), UNSUPPORTED] | None = None
    function_call: Annotated[Literal["none", "auto"], UNSUPPORTED] | None = None
    modalities: Annotated[list[Literal["text"]], UNSUPPORTED] | None = None
    reasoning_effort: Annotated[Literal["none"], UNSUPPORTED] | None = None
    verbosity: Annotated[Literal["medium"], UNSUPPORTED] | None = None
    store: Annotated[Literal[False], UNSUPPORTED] | None = None
    audio: Nothing = None
    prediction: Nothing = None
    moderation: Nothing = None
    web_search_options: Nothing = None
    parallel_tool_calls: bool | None = None
    """Not looked at: there are no tools. So are the following."""
    metadata: dict[str, Any] | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None


class CompletionRequest(Generating):
    """Of /v1/completions: texts to be continued as they stand, without a template."""

    prompt: (
        Text
        | Annotated[list[Text], Field(fail_fast=True, min_length=1)]
        | TokenIds
        | Annotated[list[TokenIds], Field(fail_fast=True, min_length=1)]
    )
    """A text, several, or the same as token ids. Texts never hold special tokens; token ids may."""
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE] | None = None
    """Most tokens of a completion; 16 where it is left out, as at OpenAI."""
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS), WHOLE] | None = None
    """Give the log-probability of every token and of this many likeliest ones in its place."""
    best_of: Annotated[Literal[1], UNSUPPORTED] | None = None
    echo: Annotated[Literal[False], UNSUPPORTED] | None = None
    suffix: Annotated[Literal[""], UNSUPPORTED] | None = None
