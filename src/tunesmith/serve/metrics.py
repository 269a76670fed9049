"""What Prometheus can ask: requests, tokens, queue, times; in a registry of the application's own.

tunesmith_requests_total{route="/v1/chat/completions",model="faq",status="200"} 12.0
"""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tunesmith.serve.recovery import Trouble
from tunesmith.serve.service import GenerationService

FIRST_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
REQUEST_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """All counters of one server. Labels take known routes and models only, so that clients cannot make new series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tunesmith_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"tunesmith_{name}", text, labels, buckets=buckets, registry=self.registry)

        self.requests = counter("requests", "Requests by route, model and HTTP status; 499: the client left.", "route", "model", "status")
        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts.", "model")
        self.completion_tokens = counter("completion_tokens", "Tokens made.", "model")
        self.firings = counter("guardrail_firings", "Times a guardrail did something.", "guardrail", "action")
        self.decoder_troubles = counter("decoder_troubles", "Steps of a decoder that failed or do not end, by kind.", "kind")
        for kind in get_args(Trouble):
            self.decoder_troubles.labels(kind)  # 0 from the beginning
        self.first_token = histogram(
            "time_to_first_token_seconds", "From a request's submission to its first token.", FIRST_TOKEN_BUCKETS, "model"
        )
        self.per_token = histogram("time_per_token_seconds", "Mean time of a request's tokens after the first.", TOKEN_BUCKETS, "model")
        self.request_seconds = histogram("request_seconds", "Whole requests.", REQUEST_BUCKETS, "route")
        self.batch_size = histogram("batch_size", "Sequences that one step of a decoder gave a token.", BATCH_BUCKETS)

    def watch(self, service: GenerationService) -> None:
        """Ask the service for its queue whenever somebody asks for the metrics."""
        for name, text, value in (
            ("queue_length", "Sequences that wait for a place in a decoder.", lambda: service.num_queued),
            ("running", "Sequences that are being decoded.", lambda: service.num_running),
            ("healthy", "1 while every decoder runs.", lambda: service.is_healthy),
        ):
            Gauge(f"tunesmith_{name}", text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)
