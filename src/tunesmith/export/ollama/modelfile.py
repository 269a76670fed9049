"""The Modelfile beside a GGUF file: `ollama create faq -f Modelfile`, then `ollama run faq`.

FROM ./faq-f16.gguf
TEMPLATE (in Go, between triple quotation marks)
PARAMETER stop "<|im_end|>"
PARAMETER temperature 0
PARAMETER repeat_penalty 1
"""

from __future__ import annotations

from collections.abc import Iterable

from tunesmith.errors import ConfigError
from tunesmith.export.ollama.template import OllamaTemplate

MOST_CONTEXT = 8192
"""Tokens of context asked for by default: Ollama reserves memory for all of them."""

SAMPLING = ("repeat_penalty 1", "top_k 0", "top_p 1")
"""All of them off, as evaluations ask. Ollama's own are 1.1 over the last 64 tokens, which changes greedy answers too, 40 and 0.9
(`DefaultOptions` in its api/types.go); whatever else it has is off by itself."""


def modelfile(gguf_name: str, template: OllamaTemplate, *, stops: Iterable[str], temperature: float, num_ctx: int) -> str:
    """The file's text.

    Raises:
        ConfigError: a text cannot be quoted there.
    """
    lines = [f"FROM ./{gguf_name}", f"TEMPLATE {_quoted(template.template)}"]
    if template.system is not None:
        lines.append(f"SYSTEM {_quoted(template.system)}")
    lines += [f"PARAMETER stop {_stop(text)}" for text in stops]
    lines += [f"PARAMETER {setting}" for setting in (f"temperature {temperature:g}", *SAMPLING, f"num_ctx {num_ctx}")]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Between three quotation marks everything stands for itself but these."""
    if '"""' in text or text.endswith('"'):
        remedy = "export --to gguf, whose file holds the template as it is"
        raise ConfigError(
            "export --to ollama", "the template has quotation marks that a Modelfile cannot hold", expected="none", remedy=remedy
        )
    return f'"""{text}"""'


def _stop(text: str) -> str:
    """On one line; the parser of Modelfiles takes text between quotation marks as it is."""
    if '"' in text or "\n" in text:
        remedy = "export --to gguf and write the Modelfile by hand"
        raise ConfigError("export --to ollama", f"the stop string {text!r}", expected="one line without quotation marks", remedy=remedy)
    return f'"{text}"'
