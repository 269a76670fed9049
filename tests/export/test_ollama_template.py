"""From Jinja to Go: templates as they are published come out the same; what cannot be said in Go is refused or named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.tiny_models import CHATML
from tunesmith.errors import ConfigError
from tunesmith.export.ollama.template import OllamaTemplate, RenderJinja, ollama_template
from tunesmith.types import Message

# Shapes of published templates, written anew: what stands around messages is theirs.
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
    "{{ m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' + (first if loop.first else '') + m['content'] }}"
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set s = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set rest = messages[1:] %}"
    "{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + (s if loop.first else '') + m['content'] + ' [/INST]' }}{% else %}"
    "{{ ' ' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
REPEATS = "{% for m in messages %}{{ m['content'] }} {{ m['content'] }}{% endfor %}"
COUNTS = "{% for m in messages %}({{ messages | length }}) {{ m['content'] }}{% endfor %}{{ ' says:' if add_generation_prompt else '' }}"
SHOUTS = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"


def renderer_of(source: str) -> RenderJinja:
    """As transformers renders chat templates."""

    def raise_exception(message: str) -> None:
        raise ConfigError("template", message, expected="another", remedy="none")

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    compiled = environment.from_string(source)

    def render(messages: Sequence[Message], asks: bool) -> str:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        return compiled.render(messages=turns, add_generation_prompt=asks, bos_token="<bos>")

    return render


def conversation(*turns: str, system: str | None = None) -> list[Message]:
    roles: list[Any] = ["user", "assistant"]
    head = [Message(role="system", content=system)] if system else []
    return head + [Message(role=roles[i % 2], content=text) for i, text in enumerate(turns)]


CONVERSATIONS = [
    conversation("How?"),
    conversation("How?", "Thus.", "And {{ x }} then?\n"),
    conversation("How?", system="Be kind."),
    conversation("a", "b", "c", "d", "e", system="Be kind."),
]


@pytest.mark.parametrize("source", [CHATML, LLAMA3, GEMMA, LLAMA2], ids=["chatml", "llama3", "gemma", "llama2"])
def test_published_templates_come_out_the_same(source: str) -> None:
    render = renderer_of(source)
    made = ollama_template(render, "<bos>")
    for messages in CONVERSATIONS:
        turns = [Message(role=m.role, content=m.content.strip()) for m in messages] if "trim" in source else messages
        assert made.render(turns) == render(turns, True).removeprefix("<bos>")


def test_a_system_message_by_default_becomes_ollamas() -> None:
    made = ollama_template(renderer_of(CHATML), None)
    assert made.system == "You are helpful."
    assert made.limits == ()
    assert made.render(conversation("x")).startswith("<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nx<|im_end|>")
    assert made.render(conversation("x", system="Else.")).startswith("<|im_start|>system\nElse.<|im_end|>\n<|im_start|>user\nx")


def test_what_comes_out_otherwise_is_named() -> None:
    trimmed = ollama_template(renderer_of(LLAMA3), "<bos>")
    assert [limit.partition(":")[0] for limit in trimmed.limits] == ["white space around a message"]
    refusing = ollama_template(renderer_of(NO_SYSTEM), None)
    assert [limit.partition(":")[0] for limit in refusing.limits] == ["a system message", "a system message and several turns"]
    assert "System role not supported" in refusing.limits[0]
    counting = ollama_template(renderer_of(COUNTS), None)
    assert "several turns" in [limit.partition(":")[0] for limit in counting.limits]


@pytest.mark.parametrize("source", [REPEATS, SHOUTS])
def test_what_cannot_be_said_in_go_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="cannot be written for Ollama"):
        ollama_template(renderer_of(source), None)


def test_messages_of_one_role_are_joined_as_ollama_does() -> None:
    made = OllamaTemplate(template="{{ range .Messages }}[{{ .Content }}]{{ end }}{{ .System }}")
    twice = [Message(role="system", content="a"), Message(role="user", content="b"), Message(role="user", content="c")]
    assert made.render(twice) == "[a][b\n\nc]a"
