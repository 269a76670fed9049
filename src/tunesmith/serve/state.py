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


def state_of(request: Request) -> ServerState:
    """Of the application that handles the request."""
    state: ServerState = request.app.state.server
    return state
