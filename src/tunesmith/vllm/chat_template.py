"""Our prompt templates as Jinja, for a server that renders by itself."""

from __future__ import annotations

import json
import string

from tunesmith.errors import ConfigError
from tunesmith.render.renderer import Renderer
from tunesmith.render.templates import TextTemplate, field_names


def chat_template(renderer: Renderer) -> str:
    """A Jinja template that writes what the renderer gives, for tokenizers that add nothing of their own."""
    template = renderer.template
    if isinstance(template, TextTemplate):
        body = _from_text_template(template, renderer.end_of_turn)
    else:
        body = str(renderer.tokenizer.chat_template)
        if turn_start := getattr(template, "turn_start", ""):
            body += "{% if add_generation_prompt %}" + _written(turn_start) + "{% endif %}"
    return "{{ bos_token }}" + body if _lacks_bos(renderer, body) else body


def _lacks_bos(renderer: Renderer, body: str) -> bool:
    """Whether the renderer puts a token before everything that the template does not write."""
    if renderer.bos_id is None:
        return False
    probe = [{"role": "user", "content": "question"}]
    text = renderer.tokenizer.apply_chat_template(probe, chat_template=body, tokenize=False, add_generation_prompt=True)
    return not text.startswith(renderer.tokenizer.bos_token)


def _from_text_template(template: TextTemplate, end_of_turn: str) -> str:
    """Turn after turn as `TextTemplate.prompt_pieces` does; a system message leads, unless the template places it."""
    names = field_names(template.body)
    values = {"prompt": "message['content']", "instruction": "message['content']", "system": "told.text"}
    if unknown := names - values.keys() - {"input"}:
        raise ConfigError(
            f"template {template.name}",
            f"the field {{{sorted(unknown)[0]}}}, which no chat message has",
            expected="prompt, instruction and system alone",
            remedy="use --engine tunesmith, or train with another template",
        )
    filled = "".join(_written(text) + (f"{{{{ {values[name]} }}}}" if name in values else "") for text, name in _parsed(template.body))
    told = "{% set told = namespace(text='') %}{% for message in messages %}{% if message['role'] == 'system' %}"
    told += "{% set told.text = told.text + message['content'] %}{% endif %}{% endfor %}"
    leading = "" if "system" in names else "{% if told.text %}{{ told.text + '\\n\\n' }}{% endif %}"
    answer = "{{ message['content'] }}" + _written(end_of_turn + "\n\n")
    turns = "{% for message in messages %}{% if message['role'] == 'assistant' %}" + answer
    turns += "{% elif message['role'] != 'system' %}" + filled + "{% endif %}{% endfor %}"
    return told + leading + turns


def _parsed(body: str) -> list[tuple[str, str]]:
    return [(text, name or "") for text, name, _, _ in string.Formatter().parse(body)]


def _written(text: str) -> str:
    """Jinja that writes exactly this."""
    return "{{ " + json.dumps(text) + " }}" if text else ""
