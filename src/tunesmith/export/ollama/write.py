"""What a Modelfile of this model says, and the proof that Ollama will prompt it with our tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.config import ExportConfig
from tunesmith.errors import ConfigError
from tunesmith.export.chat_template import render_jinja
from tunesmith.export.gguf_file.architectures import architecture_of, context_length
from tunesmith.export.ollama.modelfile import MOST_CONTEXT, modelfile
from tunesmith.export.ollama.template import PLAIN, OllamaTemplate, ollama_template
from tunesmith.export.prompts import ParityPrompt
from tunesmith.export.subject import Subject

OllamaWriting = Callable[[ParityPrompt], str]
"""A prompt -> the text that llama.cpp is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OllamaPlan:
    """Everything of the Modelfile but the GGUF file's name."""

    template: OllamaTemplate
    stops: tuple[str, ...]
    temperature: float
    num_ctx: int

    def modelfile(self, gguf_name: str) -> str:
        return modelfile(gguf_name, self.template, stops=self.stops, temperature=self.temperature, num_ctx=self.num_ctx)

    def text(self, prompt: ParityPrompt) -> str:
        """As Ollama makes it."""
        return self.template.render(prompt.messages)

    def prove(self, subject: Subject, prompts: Sequence[ParityPrompt]) -> str:
        """Compare the tokens of every prompt with ours, and say what was found.

        Raises:
            ConfigError: one has other tokens, or fields that a message cannot hold.
        """
        renderer = subject.opened.renderer
        for prompt in prompts:
            ids = renderer.encoder(self.text(prompt), literal=prompt.is_text)
            found = [renderer.bos_id, *ids] if renderer.bos_id is not None else ids
            if tuple(found) != prompt.token_ids:
                raise _other_tokens(prompt)
        limits = "".join(f"; not so for {limit}" for limit in self.template.limits)
        return f"the Modelfile's template gives our prompt's tokens in {len(prompts)} of {len(prompts)} prompts{limits}"


def plan_ollama(subject: Subject, config: ExportConfig) -> OllamaPlan:
    """Find the template, the stop strings and the context.

    Raises:
        ConfigError: the template cannot be written in Go, or more context is asked for than the file has.
    """
    renderer = subject.opened.renderer
    bos = str(renderer.tokenizer.bos_token) if renderer.bos_id is not None else None
    template = PLAIN if subject.opened.trained_on_text else ollama_template(lambda m, asks: render_jinja(renderer, m, asks), bos)
    return OllamaPlan(
        template=template,
        stops=tuple(renderer.decode([one]) for one in sorted(renderer.stop_ids)),
        temperature=config.temperature,
        num_ctx=_context(subject, config),
    )


def _context(subject: Subject, config: ExportConfig) -> int:
    """No more than the GGUF file says, beyond which llama.cpp may compute something else."""
    network = subject.opened.hugging_face_network.config
    most = min(subject.opened.loaded.context_length, context_length(network, architecture_of(network)))
    if config.num_ctx is not None and config.num_ctx > most:
        remedy = "lower --num-ctx, or leave it out"
        raise ConfigError("--num-ctx", f"{config.num_ctx:,} tokens", expected=f"at most the file's {most:,}", remedy=remedy)
    return config.num_ctx or min(most, MOST_CONTEXT)


def _other_tokens(prompt: ParityPrompt) -> ConfigError:
    with_fields = " (it has fields beside its message, which Ollama does not pass on)" if prompt.fields else ""
    return ConfigError(
        "export --to ollama",
        f"{prompt.source}: through the Modelfile's template the prompt has other tokens than ours{with_fields}",
        expected="our tokens",
        remedy="export --to gguf, whose file holds the template as it is, or train with a template of fixed text around one message",
    )
