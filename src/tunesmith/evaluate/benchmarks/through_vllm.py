"""Benchmarks by vLLM: tasks whose answers are written out. Our own engine loads no weights meanwhile.

Tasks that compare likelihoods stay with our engine; why, `evaluate.through_vllm` says.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tunesmith.engine.loading import choose_device, choose_dtype, dtype_name
from tunesmith.engine.sharded.hollow import load_hollow
from tunesmith.errors import ConfigError
from tunesmith.evaluate.benchmarks.harness import Completing, TunesmithLM
from tunesmith.evaluate.benchmarks.models import Contestant, Opened
from tunesmith.evaluate.benchmarks.tasks import LoadedBenchmark
from tunesmith.render.renderer import Renderer
from tunesmith.tuned import base_directory, stored_renderer
from tunesmith.types import Completion
from tunesmith.vllm.answers import Reading, complete
from tunesmith.vllm.command import VllmModel, model_of_run, vllm_model
from tunesmith.vllm.server import Launch, VllmServer, running

Say = Callable[[str], None]


def require_written_answers(loaded: Sequence[LoadedBenchmark]) -> None:
    """Refuse tasks that compare likelihoods.

    Raises:
        ConfigError: there is one.
    """
    for task in (task for one in loaded for task in one.tasks):
        if task.task.OUTPUT_TYPE != "generate_until":
            raise ConfigError(
                "--engine vllm",
                f"{task.name} compares log-likelihoods, which stay with our own engine",
                expected="tasks whose answers are written out, such as gsm8k",
                remedy="ask it without --engine vllm",
            )


def vllm_models(contestants: Sequence[Contestant], say: Say) -> dict[str, VllmModel]:
    """By label, what each contestant is for vLLM; their names there are ours to choose.

    Raises:
        ConfigError: vLLM cannot load one.
    """
    found = {contestant.label: _vllm_model(contestant, say) for contestant in contestants}
    bases = list(dict.fromkeys(map(_base, found.values())))
    named = {}
    for number, (label, model) in enumerate(found.items()):
        base_name = f"base-{bases.index(_base(model))}"
        named[label] = dataclasses.replace(model, name=f"adapter-{number}" if model.adapter_dir else base_name, base_name=base_name)
    return named


def _vllm_model(contestant: Contestant, say: Say) -> VllmModel:
    run = contestant.run
    if run is None:
        return vllm_model(contestant.reference, say)[0]
    record, tuned = run.record(), model_of_run(run)
    if not contestant.is_base:
        return tuned
    if record["config"].get("new_tokens"):
        found = f"{run.path} has new tokens, whose base vLLM cannot load"
        raise ConfigError("--engine vllm", found, expected="runs without", remedy="use --engine tunesmith")
    return VllmModel(name="base", base_dir=base_directory(record), base_name="base", is_quantized=tuned.is_quantized)


def _base(model: VllmModel) -> tuple[Path, bool]:
    return model.base_dir, model.is_quantized


class VllmOpener:
    """As `Opener`: one contestant after another, those of one base by one server, which runs until another base comes."""

    def __init__(self, models: Mapping[str, VllmModel], launch: Launch, *, device: str, say: Say) -> None:
        """`models` as of `vllm_models`; the launch's compute type may be `auto`."""
        self._models, self._say = models, say
        computes_on = choose_device(device)  # type: ignore[arg-type]
        self._dtype = choose_dtype(launch.dtype, computes_on)  # type: ignore[arg-type]
        self._suffix = "-".join([computes_on.type, *([hashlib.sha256(launch.options.encode()).hexdigest()[:8]] if launch.options else [])])
        self._launch = dataclasses.replace(launch, dtype=dtype_name(self._dtype))
        self._held: tuple[tuple[Path, bool], VllmServer, AbstractContextManager[VllmServer]] | None = None

    @contextmanager
    def opened(self, contestant: Contestant) -> Iterator[Opened]:
        """The model, as the harness sees it, within the block."""
        model = self._models[contestant.label]
        loaded = load_hollow(model.base_dir, dtype=self._dtype)
        if contestant.run is None:
            renderer = Renderer.for_model(loaded.tokenizer, "auto", loaded.stop_ids)
        else:
            renderer = stored_renderer(contestant.run, loaded.tokenizer)
        lm = TunesmithLM(loaded.network, loaded.tokenizer, stop_ids=renderer.stop_ids)
        server = self._server(model, lm.max_length)
        lm.complete = _completing(server, model.name)
        yield Opened(model=lm, dtype=self._launch.dtype, device=f"vllm-{server.version}-{self._suffix}")

    def _server(self, model: VllmModel, max_length: int) -> VllmServer:
        if self._held and self._held[0] == _base(model):
            return self._held[1]
        self.close()
        alike = {one.name: one for one in self._models.values() if _base(one) == _base(model)}
        context = running(list(alike.values()), dataclasses.replace(self._launch, max_length=max_length), self._say)
        self._held = (_base(model), context.__enter__(), context)
        return self._held[1]

    def close(self) -> None:
        """End the server."""
        if self._held:
            held, self._held = self._held, None
            held[2].__exit__(None, None, None)


def _completing(server: VllmServer, name: str) -> Completing:
    def answer(prompts, config, *, stop_ids, context_length, parse, on_progress) -> list[Completion]:  # type: ignore[no-untyped-def]
        reading = Reading(stop_ids=stop_ids, context_length=context_length, parse=parse)
        return complete(server, name, prompts, config, reading, on_progress)

    return answer


def launch_beside(out: Path, *, dtype: str, options: str) -> Launch:
    """With the log where the results go."""
    return Launch(log=(out / "vllm.log").resolve(), dtype=dtype, options=options)
