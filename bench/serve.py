"""The server under load: throughput, latencies, memory, and whether anything is leaked or wrong.

    python bench/serve.py [--model M] [--streams 64] [--seconds 300] [--cancelled 0.1] [--malformed 0.1] [--max-tokens 64]
    python bench/serve.py --against transformers --seconds 60      # the same load on `transformers serve`, and the ratio

Streams ask built-in questions one after another, greedily; some are cancelled after a few pieces, some are no valid requests.
Seconds are the client's, who runs on the same machine. Against a peer nothing is cancelled or malformed, and tokens are those that
both sides' `usage` counts of answers that came whole; where `--last-seconds` cuts others off, a piece of theirs is a token.
Text under load is compared with the answer of an idle server: in float32 all of it is the same; in bfloat16 a batch of another size
rounds differently, so there the answers before and after the load are what must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from measure import parser_for, publish, record
from tunesmith.assets import resolve_model
from tunesmith.data.builtin import builtin_data_file

START_SECONDS, END_SECONDS = 600, 60
MALFORMED = (
    b"{",
    b"[]",
    b'{"model": 1}',
    b'{"model": "%s", "messages": []}',
    b'{"model": "nowhere", "messages": [{"role": "user", "content": "x"}]}',
)
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server that runs."""

    url: str
    model: str
    process: subprocess.Popen[Any]

    def body(self, question: str, max_tokens: int, *, streams: bool) -> dict[str, Any]:
        asked = {"model": self.model, "messages": [{"role": "user", "content": question}], "max_tokens": max_tokens, "temperature": 0}
        return {**asked, "stream": True, "stream_options": {"include_usage": True}} if streams else asked

    def memory_bytes(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@dataclass(kw_only=True)
class Tally:
    """What the clients saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Errors that are not the client's."""
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    num_tokens: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    """Question and answer of those that came whole."""


def main() -> None:
    options = parse_options()
    model = resolve_model(options.model, on_progress=print).directory
    questions = [json.loads(line)["question"] for line in builtin_data_file().read_text(encoding="utf-8").splitlines()][: options.questions]
    shares = (0.0, 0.0) if options.against else (options.cancelled, options.malformed)
    with tunesmith_server(model, options) as target:
        ours = asyncio.run(measure(target, questions, options, shares))
    runs = {"tunesmith": [ours]}
    parts: dict[str, Any] = {}
    if options.against:
        with transformers_server(model, options) as target:
            runs["transformers serve"] = [asyncio.run(load_warm(target, questions, options, shares))]
        parts["ratio"] = ours["tokens_per_second"] / runs["transformers serve"][0]["tokens_per_second"]
    publish(record(options, figures={name: one[0] for name, one in runs.items()}, **parts), options.out)
    if ours["wrong"] or ours["leaked"] or not ours["same_text_when_idle"]:
        raise SystemExit("errors that are not the client's, leaked places, or other text when streamed: see above")


def parse_options() -> argparse.Namespace:
    parser = parser_for(__doc__, repeats=1)
    parser.add_argument("--streams", type=int, default=64, help="requests under way at the same time")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--last-seconds", type=float, help="most time for answers under way after that; their tokens so far are counted")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--cancelled", type=float, default=0.1, help="share of requests that are given up after a few pieces")
    parser.add_argument("--malformed", type=float, default=0.1, help="share of requests that are none")
    parser.add_argument("--questions", type=int, default=64, help="different questions")
    parser.add_argument("--against", choices=("transformers",))
    parser.add_argument("--peer-arguments", default="", help="more arguments of the peer, e.g. '--continuous-batching'")
    parser.add_argument("--peer-python", default=sys.executable)
    return parser.parse_args()


@contextmanager
def tunesmith_server(model: Path, options: argparse.Namespace) -> Iterator[Target]:
    command = [sys.executable, "-m", "tunesmith", "serve", str(model), "--port", "0", "--dtype", options.dtype, "--json"]
    with running([*command, "--batch-size", str(options.streams)], options, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        document = json.loads(text)
        yield Target(url=document["address"], model=document["models"][0]["id"], process=process)


@contextmanager
def transformers_server(model: Path, options: argparse.Namespace) -> Iterator[Target]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [options.peer_python, "-m", "transformers.cli.transformers", "serve", str(model), "--port", str(port), "--device", "cpu"]
    command += ["--dtype", options.dtype, *options.peer_arguments.split()]
    with running(command, options, stdout=subprocess.DEVNULL, stderr=None) as process:
        url = f"http://localhost:{port}"
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx2.get(f"{url}/health").status_code == 200:
                    break
            except httpx2.TransportError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("`transformers serve` did not start; is transformers[serving] installed?") from None
            time.sleep(0.5)
        yield Target(url=url, model=str(model), process=process)


@contextmanager
def running(command: list[str], options: argparse.Namespace, **streams: Any) -> Iterator[subprocess.Popen[Any]]:
    settings = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, env=settings, text=True, **streams)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


async def measure(target: Target, questions: list[str], options: argparse.Namespace, shares: tuple[float, float]) -> dict[str, Any]:
    """The load, and what only our own server can be asked."""
    async with client_for(options) as client:
        alone = await ask_alone(client, target, questions[:8], options.max_tokens)
        before = target.memory_bytes()
        figures = await load(target, questions, options, shares)
        await asyncio.sleep(1)
        leaked = await gauges(client, target)
        again = await ask_alone(client, target, questions[:8], options.max_tokens)
    texts = dict(figures.pop("texts"))
    under_load = [texts[question] == alone[question][0] for question in alone if question in texts]
    return {
        **figures,
        "memory_before_bytes": before,
        "memory_after_bytes": target.memory_bytes(),
        "leaked": leaked,
        "same_text_when_idle": all(whole == streamed for whole, streamed in (*alone.values(), *again.values())) and alone == again,
        "same_text_under_load": f"{sum(under_load)} of {len(under_load)} questions",
    }


async def load_warm(target: Target, questions: list[str], options: argparse.Namespace, shares: tuple[float, float]) -> dict[str, Any]:
    """The load on a server that has answered before, as ours has then; what it makes ready at its first request is not counted."""
    async with client_for(options) as client:
        await ask_alone(client, target, questions[:1], options.max_tokens)
    return await load(target, questions, options, shares)


def client_for(options: argparse.Namespace) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=2 * options.streams, max_keepalive_connections=options.streams)
    return httpx2.AsyncClient(timeout=START_SECONDS, limits=limits)


async def ask_alone(client: httpx2.AsyncClient, target: Target, questions: list[str], max_tokens: int) -> dict[str, tuple[str, str]]:
    """Each question unstreamed and streamed, one after another."""
    answers = {}
    for question in questions:
        whole = await client.post(f"{target.url}/v1/chat/completions", json=target.body(question, max_tokens, streams=False))
        tally = Tally()
        await ask_streamed(client, target, question, max_tokens, tally, most_pieces=None)
        answers[question] = whole.json()["choices"][0]["message"]["content"], tally.texts[0][1]
    return answers


async def gauges(client: httpx2.AsyncClient, target: Target) -> float:
    """Sequences that still wait or run, as the server says."""
    lines = (await client.get(f"{target.url}/metrics")).text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(("tunesmith_running ", "tunesmith_queue_length ")))


async def load(target: Target, questions: list[str], options: argparse.Namespace, shares: tuple[float, float]) -> dict[str, Any]:
    """Many streams for some seconds; those under way then come to their end, or are given up after `--last-seconds`."""
    tally, start = Tally(), time.perf_counter()
    async with client_for(options) as client:
        streams = [
            asyncio.create_task(
                keep_asking(client, target, questions, options, shares, random.Random(number), tally, start + options.seconds)
            )
            for number in range(options.streams)
        ]
        most_seconds = None if options.last_seconds is None else options.seconds + options.last_seconds
        done, late = await asyncio.wait(streams, timeout=most_seconds, return_when=asyncio.FIRST_EXCEPTION)
        for one in late:
            one.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for one in done:
            one.result()
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "tokens_per_second": tally.num_tokens / seconds,
        "requests_per_second": tally.outcomes.total() / seconds,
        "outcomes": dict(tally.outcomes),
        "wrong": tally.wrong[:10],
        "num_wrong": len(tally.wrong),
        "seconds_to_first_piece": percentiles(tally.first),
        "seconds_per_token": percentiles(tally.between),
        "seconds_of_whole_answers": percentiles(tally.whole),
        "texts": tally.texts,
    }


async def keep_asking(
    client: httpx2.AsyncClient,
    target: Target,
    questions: list[str],
    options: argparse.Namespace,
    shares: tuple[float, float],
    dice: random.Random,
    tally: Tally,
    end: float,
) -> None:
    cancelled, malformed = shares
    while time.perf_counter() < end:
        chance = dice.random()
        try:
            if chance < malformed:
                await ask_malformed(client, target, dice, tally)
            else:
                most = dice.randrange(1, 12) if chance < malformed + cancelled else None
                await ask_streamed(client, target, dice.choice(questions), options.max_tokens, tally, most_pieces=most)
        except (httpx2.TransportError, ValueError, KeyError) as error:
            tally.wrong.append(f"{type(error).__name__}: {error}")


async def ask_malformed(client: httpx2.AsyncClient, target: Target, dice: random.Random, tally: Tally) -> None:
    content = dice.choice(MALFORMED).replace(b"%s", target.model.encode())
    answer = await client.post(f"{target.url}/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    tally.outcomes[f"malformed: {answer.status_code}"] += 1
    if not 400 <= answer.status_code < 500:
        tally.wrong.append(f"{answer.status_code} for {content!r}")


async def ask_streamed(
    client: httpx2.AsyncClient, target: Target, question: str, max_tokens: int, tally: Tally, *, most_pieces: int | None
) -> None:
    start = time.perf_counter()
    times: list[float] = []
    text, num_tokens = "", 0
    async with client.stream("POST", f"{target.url}/v1/chat/completions", json=target.body(question, max_tokens, streams=True)) as answer:
        if answer.status_code != 200:
            await answer.aread()
            tally.outcomes[str(answer.status_code)] += 1
            if answer.status_code == 429:
                await asyncio.sleep(float(answer.headers["retry-after"]))
            else:
                tally.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        try:
            async for document in documents(answer):
                if "error" in document:
                    tally.wrong.append(json.dumps(document))
                for choice in document.get("choices", ()):
                    if piece := choice["delta"].get("content"):
                        times.append(time.perf_counter())
                        text += piece
                num_tokens = (document.get("usage") or {}).get("completion_tokens", num_tokens)
                if most_pieces is not None and len(times) >= most_pieces:
                    tally.outcomes["cancelled"] += 1
                    return
        except asyncio.CancelledError:
            tally.outcomes["not finished"] += 1
            tally.num_tokens += len(times)
            raise
    note(tally, start, times, num_tokens)
    tally.texts.append((question, text))


async def documents(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream."""
    async for line in answer.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def note(tally: Tally, start: float, times: list[float], num_tokens: int) -> None:
    tally.outcomes["answered"] += 1
    tally.num_tokens += num_tokens
    tally.whole.append(time.perf_counter() - start)
    if times:
        tally.first.append(times[0] - start)
    if num_tokens > 1 and len(times) > 1:
        tally.between.append((times[-1] - times[0]) / (num_tokens - 1))


def percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{percent}": cuts[percent - 1] for percent in PERCENTILES}


if __name__ == "__main__":
    main()
