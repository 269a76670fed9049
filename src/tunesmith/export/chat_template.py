"""The renderer's template as a chat template in Jinja, so that `apply_chat_template` gives our prompt's tokens.

A model's own chat template stays as it is, but for what our renderer adds: BOS where the tokenizer adds it and the template does not,
and what follows the generation prompt (Qwen 3's empty thought). A text template becomes Jinja; its fields beyond the message can be
given as `tokenizer.apply_chat_template(messages, input="…")`.

    ### Question:
    {prompt}        ->    {{ '### Question:\n' }}{{ message['content'] }}{{ '\n\n### Answer:\n' }}
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence

from tunesmith.errors import ConfigError, first_line
from tunesmith.render.renderer import Renderer
from tunesmith.render.templates import ChatTemplate, TextTemplate, field_names
from tunesmith.types import Message


def jinja_template(renderer: Renderer) -> str:
    """Jinja source for the tokenizer of an export."""
    template = renderer.template
    if isinstance(template, ChatTemplate):
        return _amended(template, renderer)
    assert isinstance(template, TextTemplate), type(template).__name__
    return _from_text(template, writes_bos=renderer.bos_id is not None and not _starts_with_bos(template, renderer))


def render_jinja(
    renderer: Renderer,
    messages: Sequence[Message],
    asks: bool,
    *,
    fields: Mapping[str, str] | None = None,
    without_bos: bool = False,
    source: str | None = None,
) -> str:
    """A chat template applied, as text; `without_bos` takes off the BOS that llama.cpp adds by itself.

    Args:
        renderer: whose tokenizer's special tokens the template may name.
        messages: the conversation.
        asks: whether an answer is to follow.
        fields: more variables of the template.
        without_bos: see above.
        source: the template, such as one read from an export; None takes the one that exports get.

    Raises:
        ConfigError: the template refuses this conversation.
    """
    turns = [{"role": message.role, "content": message.content} for message in messages]
    template = jinja_template(renderer) if source is None else source
    try:
        text: str = renderer.tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=asks, **(fields or {})
        )
    except Exception as error:  # noqa: BLE001 - Jinja templates raise what they like
        remedy = "change the messages, or train with a template that takes them"
        raise ConfigError("the exported chat template", first_line(error), expected="a conversation that it takes", remedy=remedy) from None
    return text.removeprefix(str(renderer.tokenizer.bos_token)) if without_bos and renderer.bos_id is not None else text


def _amended(template: ChatTemplate, renderer: Renderer) -> str:
    source = str(renderer.tokenizer.chat_template)
    if template.turn_start:
        source = source.removesuffix("\n") + "{% if add_generation_prompt %}" + _text(template.turn_start) + "{% endif %}"
    probe = [{"role": "user", "content": "x"}]
    rendered = renderer.tokenizer.apply_chat_template(probe, tokenize=False, add_generation_prompt=True)
    if renderer.bos_id is not None and not rendered.startswith(renderer.tokenizer.bos_token):
        source = "{{ bos_token }}" + source
    return source


def _starts_with_bos(template: TextTemplate, renderer: Renderer) -> bool:
    return template.body.startswith(str(renderer.tokenizer.bos_token))


def _from_text(template: TextTemplate, *, writes_bos: bool) -> str:
    """Line for line what `TextTemplate.prompt_pieces` does."""
    names_system = "system" in field_names(template.body)
    body = _filled(template.body)
    if template.body_with_input:
        body = "{% if last and input is defined and input %}" + _filled(template.body_with_input) + "{% else %}" + body + "{% endif %}"
    return "".join(
        [
            "{{ bos_token }}" if writes_bos else "",
            "{% set found = namespace(system='', turns=[]) %}",
            "{% for message in messages %}{% if message['role'] == 'system' %}{% set found.system = found.system + message['content'] %}",
            "{% else %}{% set found.turns = found.turns + [message] %}{% endif %}{% endfor %}",
            "" if names_system else "{% if found.system %}{{ found.system + '\\n\\n' }}{% endif %}",
            "{% for message in found.turns %}{% if message['role'] == 'assistant' %}",
            "{{ message['content'] + eos_token }}{% if not loop.last or add_generation_prompt %}{{ '\\n\\n' }}{% endif %}",
            "{% else %}{% set last = loop.last %}",
            body,
            "{% endif %}{% endfor %}",
        ]
    )


def _filled(body: str) -> str:
    """A text template's body, each field an expression."""
    parts = []
    for literal, name, _, _ in string.Formatter().parse(body):
        parts.append(_text(literal) if literal else "")
        if name is not None:
            parts.append("{{ " + _expression(name) + " }}")
    return "".join(parts)


_EXPRESSIONS: Mapping[str, str] = {
    "prompt": "message['content']",
    "instruction": "instruction if last and instruction is defined else message['content']",
    "input": "input if last and input is defined else ''",
    "system": "found.system",
}


def _expression(name: str) -> str:
    missing = json.dumps(f"this template needs {name}: apply_chat_template(messages, {name}=...)")
    return _EXPRESSIONS.get(name) or f"{name} if last and {name} is defined else raise_exception({missing})"


def _text(text: str) -> str:
    """A string literal of Jinja: as JSON writes it, but for braces that would end the expression."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "{{ " + quoted.replace("{", "\\u007b").replace("}", "\\u007d") + " }}"
