"""What all handlers of one server share, and how each finds it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from starlette.requests import Request

from tunesmith.config import ServeConfig
from tunesmith.serve.forms import SchemaProcesses
from tunesmith.serve.guarding import Guard
from tunesmith.serve.metrics import Metrics
from tunesmith.serve.problems import unknown_model
from tunesmith.serve.service import GenerationService
from tunesmith.serve.token_texts import TokenTexts
from tunesmith.together import ServedModel


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """Of one application."""

    config: ServeConfig
    service: GenerationService
    metrics: Metrics
    guards: Mapping[str, Guard] = field(default_factory=dict)
    """By the names of the models they stand before."""
    renderers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="render"))
    """Makes tokens of prompts beside the event loop; one at a time, for tokenizers are not made for several threads."""
    writers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="write"))
    """Writes long answers; one at a time, so that the event loop shares the interpreter with one alone."""
    token_texts: dict[str, TokenTexts] = field(default_factory=dict)
    """By the names of models, as they are needed."""

    schemas: SchemaProcesses = field(default_factory=SchemaProcesses)
    """Look at clients' schemas."""

    def model(self, name: str) -> ServedModel:
        """By the name a client gives.

        Raises:
            ApiError: there is none of this name.
        """
        if name not in self.service.models:
            raise unknown_model(name)
        return self.service.models[name]

    def texts_of(self, model: ServedModel) -> TokenTexts:
        """What its tokens stand for."""
        if model.name not in self.token_texts:
            self.token_texts[model.name] = TokenTexts(model.renderer.tokenizer)
        return self.token_texts[model.name]


def state_of(request: Request) -> ServerState:
    """Of the application that handles the request."""
    state: ServerState = request.app.state.server
    return state
