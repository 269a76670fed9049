"""`tunesmith estimate --model …` without data: what fits where, from the model's configuration alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from tunesmith.cli import train as train_verb
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, say, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.config import Method, TrainConfig
    from tunesmith.train.capacity import Strategy
    from tunesmith.train.fitting import Subject, Verdict
    from tunesmith.train.pace import Pace

WITHOUT_DATA = "Without DIR: from the model's config.json alone"
"""Panel of the options that need no data."""

MemoryPerProcess = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What a process may take, such as 80GB: of its GPU, else of main memory. [default: what this machine has]",
        rich_help_panel=WITHOUT_DATA,
    ),
]
FlopsPerSecond = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Operations a second of a process, such as 400T. [default: measured in matrix products, where DEVICE is here]",
        rich_help_panel=WITHOUT_DATA,
    ),
]
Bandwidth = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Bytes a second that a process sends while it receives as many, such as 25GB/s. [default: unknown]",
        rich_help_panel=WITHOUT_DATA,
    ),
]

OWN = frozenset({"memory_per_process", "flops_per_second", "bandwidth"})
"""Options that have a meaning without data only."""
USED = OWN | {
    "model", "method", "trainable_layers", "max_length", "tokens_per_micro_batch", "tokens_per_step", "activation_checkpointing",
    "optimizer", "dtype", "device", "processes", "strategy", "cpu_offload", "as_json",
}  # fmt: skip
"""Options that have a meaning without data, beside those of the adapters."""
SHARING = frozenset({"processes", "strategy", "cpu_offload"})
"""How many processes, and what they share: all ways are compared unless one is asked for."""

PART_NAMES: Mapping[str, str] = {
    "weights": "weights",
    "masters": "float32 masters",
    "gradients": "gradients",
    "moments": "optimiser moments",
    "gathered": "weights gathered from others",
    "reduction": "gradients on their way to others",
    "activations": "activations",
    "working": "logits, or one layer's backward pass",
    "process": "python and libraries",
}


class Asked(NamedTuple):
    """Everything the answer is made of."""

    subject: Subject
    verdict: Verdict
    paces: Mapping[Strategy, Pace]
    length: int
    sources: Mapping[str, str]
    """Where memory, rate and bandwidth come from, in words."""
    config_file: Path
    unspreadable: str
    """What weights spread over processes cannot do, of what is asked for; empty where they can do all."""


def estimate_from_config(given: Mapping[str, Any]) -> None:
    """Print what `--model` needs, without data.

    Raises:
        ConfigError: an option needs data, or contradicts another.
        AssetError: the model's configuration cannot be found or used.
    """
    _require_meaning(given)
    numbers = {name: quantity(given[name], f"--{name.replace('_', '-')}") for name in OWN if name in given}
    with waiting("building the network without its weights"):
        asked = _ask(given, numbers)
    if given.get("as_json"):
        print_json(document(asked))
        return
    for line in lines(asked):
        print(line)
    if "bandwidth" not in given and asked.verdict.processes > 1:
        say("For the time on the way between processes give --bandwidth, for example 25GB/s.")


def _require_meaning(given: Mapping[str, Any]) -> None:
    others = [key for key in given if key not in USED and not key.startswith("lora_")]
    if others:
        words = ", ".join(f"--{key.replace('_', '-')}" for key in others)
        remedy = "leave them out, or name a prepared data set; see `tunesmith estimate --help`"
        raise ConfigError("tunesmith estimate", f"{words} without DIR", expected="a data set to measure it on", remedy=remedy)


UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def quantity(text: str, option: str) -> float:
    """A number with a unit.

    >>> quantity("80GB", "--memory-per-process"), quantity("24 GiB", "--memory-per-process"), quantity("400T", "--flops-per-second")
    (80000000000.0, 25769803776.0, 400000000000000.0)

    Raises:
        ConfigError: it is none, or not above 0.
    """
    found = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s*([KMGTPE]?)(i?)(?:B|FLOPS?|FLOP)?(?:/s)?", text.strip(), re.IGNORECASE)
    try:
        number = float(found[1]) if found else 0.0
    except ValueError:  # 1.2.3
        number = 0.0
    if found is None or not number > 0:
        example = {"--memory-per-process": "80GB", "--bandwidth": "25GB/s"}.get(option, "400T")
        raise ConfigError(
            option, repr(text), expected=f"a number above 0 with a unit, such as {example}", remedy=f"write {option} {example}"
        )
    unit = found[2].upper()
    return number * (1024.0 ** list(UNITS).index(unit) if found[3] else UNITS[unit])


def _ask(given: Mapping[str, Any], numbers: Mapping[str, float]) -> Asked:
    from tunesmith.assets.configs import find_config
    from tunesmith.config import TrainConfig, build
    from tunesmith.train.fitting import WHOLE, what_fits
    from tunesmith.train.pace import pace
    from tunesmith.train.strategy import unspreadable

    used = {key: value for key, value in given.items() if key not in OWN and key not in SHARING}
    config = build(TrainConfig, {**train_verb.settings(used), "data": Path()}, place="estimate")  # nobody reads the data's place
    config_file = find_config(config.model, on_progress=say)
    processes = given.get("processes") or 1
    subject, length = make_subject(config_file, config)
    room, room_source = _room(numbers.get("memory_per_process"), subject.setup.device)
    rate, rate_source = _rate(numbers.get("flops_per_second"), subject)
    strategies = _strategies(processes, subject, given)
    refused = unspreadable(config)
    if refused and "ddp" not in strategies and "alone" not in strategies:
        raise ConfigError("--strategy fsdp", f"{refused[0]}, which spread weights cannot", expected=refused[1], remedy="use --strategy ddp")
    if refused:
        strategies = tuple(one for one in strategies if one in WHOLE)

    def spreads(method: Method) -> bool:
        return unspreadable(config.model_copy(update={"method": method})) is None

    verdict = what_fits(subject, processes=processes, room=room, strategies=strategies, spreads=spreads)
    bandwidth = numbers.get("bandwidth")
    paces = {
        one: pace(subject.architecture, subject.setup, one, processes, length=length, rate=rate, bandwidth=bandwidth)
        for one in verdict.memories
    }
    sent = "not known" if bandwidth is None else f"{bandwidth / 1e9:g} GB/s, as given"
    sources = {"memory": room_source, "flops_per_second": rate_source, "bandwidth": sent}
    return Asked(subject, verdict, paces, length, sources, config_file, refused[0] if refused else "")


def make_subject(config_file: Path, config: TrainConfig) -> tuple[Subject, int]:
    """The model under every method it may be advised to use, and the tokens of a sequence."""
    from tunesmith.config import ADAPTER_METHODS, LoraConfig
    from tunesmith.train.architecture import describe, read_network
    from tunesmith.train.capacity import Setup
    from tunesmith.train.fitting import Subject
    from tunesmith.train.plan import tokens_per_micro_batch

    network = read_network(config_file)
    methods = (config.method, *(method for method in ADAPTER_METHODS if method != config.method))
    lora = config.lora if config.method in ADAPTER_METHODS else LoraConfig()
    architectures = {one: describe(network, method=one, lora=lora, trainable_layers=config.trainable_layers) for one in methods}
    device = _device(config.device)
    tokens = tokens_per_micro_batch(config, device)
    context = architectures[config.method].context_length
    length = min(config.max_length or min(2048, tokens), context)
    setup = Setup(
        method=config.method,
        device=device,
        itemsize=_itemsize(config.dtype, device),
        tokens=max(tokens, length),  # an example cannot be divided
        tokens_per_step=config.tokens_per_step,
        optimizer=config.optimizer,
        activation_checkpointing=config.activation_checkpointing,
    )
    return Subject(architectures=architectures, setup=setup), length


def _device(name: str) -> Any:
    """As asked for, whether it is here or not; auto is what is here."""
    import torch

    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _itemsize(name: Any, device: str) -> Any:
    import torch

    from tunesmith.engine.loading import choose_dtype

    if name == "auto" and device == "cuda" and not torch.cuda.is_available():
        return 2  # every GPU since 2020 has bfloat16
    return choose_dtype(name, torch.device(device)).itemsize


def _strategies(processes: int, subject: Subject, given: Mapping[str, Any]) -> tuple[Strategy, ...]:
    """As asked for; else one process, or all ways to share; shards in host memory where there is another one to compute in.

    Raises:
        ConfigError: a way to share among one.
    """
    if processes == 1:
        if asked := [f"--{name.replace('_', '-')}" for name in ("strategy", "cpu_offload") if given.get(name) not in (None, False, "auto")]:
            found = f"{' and '.join(asked)} with one process, which holds all there is"
            raise ConfigError("tunesmith estimate", found, expected="two processes or more", remedy="add --processes N, or leave it out")
        return ("alone",)
    if given.get("cpu_offload"):
        return ("fsdp-offload",)
    if given.get("strategy") in ("ddp", "fsdp"):
        return (given["strategy"],)
    return ("ddp", "fsdp", "fsdp-offload") if subject.setup.device == "cuda" else ("ddp", "fsdp")


def _room(given: float | None, device: str) -> tuple[int, str]:
    import torch

    from tunesmith.engine.room import room

    if given is not None:
        return int(given), "as given"
    if device == "cuda" and not torch.cuda.is_available():
        found = "no GPU here whose memory could be asked for"
        raise ConfigError(
            "--device cuda", found, expected="--memory-per-process beside it", remedy="add, for example, --memory-per-process 80GB"
        )
    return room(torch.device(device)), "what this machine has now, as if each process had such a one"


def _rate(given: float | None, subject: Subject) -> tuple[float | None, str]:
    import torch

    from tunesmith.train.pace import PROBE_SIZE, measure_rate

    if given is not None:
        return given, f"{given / 1e12:g} TFLOP/s a process, as given"
    device = subject.setup.device
    if device == "cuda" and not torch.cuda.is_available():
        return None, "not known; give --flops-per-second"
    rate = measure_rate(device, subject.setup.itemsize)
    return rate, f"{rate / 1e12:.3g} TFLOP/s a process, measured here in matrix products of {PROBE_SIZE:,}"


def document(asked: Asked) -> Mapping[str, Any]:
    """The JSON document."""
    subject, verdict, setup = asked.subject, asked.verdict, asked.subject.setup
    architecture = subject.architecture
    strategies = {
        one: {
            "fits": memory.total <= verdict.room,
            "bytes": memory.total,
            "parts": memory.parts(),
            "host_bytes": memory.host,
            "fewest_processes": verdict.fewest.get(one),
            **_pace_record(asked.paces[one]),
        }
        for one, memory in verdict.memories.items()
    }
    return {
        "model": {
            "config": str(asked.config_file),
            "architecture": architecture.name,
            "num_parameters": architecture.num_parameters,
            "num_trained": architecture.num_trained,
            "num_layers": len(architecture.layers),
        },
        "setup": {
            "method": setup.method,
            "device": setup.device,
            "dtype": _dtype_name(setup.itemsize),
            "tokens_per_micro_batch": setup.tokens,
            "tokens_per_step": asked.paces[next(iter(asked.paces))].tokens,
            "length": asked.length,
            "optimizer": setup.optimizer,
            "activation_checkpointing": setup.activation_checkpointing,
        },
        "processes": verdict.processes,
        "memory_per_process": verdict.room,
        "sources": dict(asked.sources),
        "strategies": strategies,
        "would_fit": [{"setting": one.setting, "strategy": one.strategy, "bytes": one.num_bytes} for one in verdict.changes],
    }


def _pace_record(pace: Pace) -> dict[str, Any]:
    rates = pace.tokens_per_second
    return {
        "operations_per_step": pace.operations,
        "sent_bytes_per_step": pace.sent_bytes,
        "compute_seconds": pace.compute_seconds,
        "communication_seconds": pace.communication_seconds,
        "tokens_per_second": None if rates is None else {"one_after_the_other": rates[0], "at_the_same_time": rates[1]},
    }


def _dtype_name(itemsize: int) -> str:
    return "bfloat16" if itemsize == 2 else "float32"


def lines(asked: Asked) -> list[str]:
    """Model, memory, time, verdict."""
    left_out = [f"fsdp is not among them: {asked.unspreadable} is not supported with weights spread over processes"]
    verdict = [*asked.verdict.sentences(), *(left_out if asked.unspreadable else [])]
    return [*_model_lines(asked), "", *_memory_lines(asked), "", *_time_lines(asked), "", *verdict]


def _model_lines(asked: Asked) -> list[str]:
    architecture, setup = asked.subject.architecture, asked.subject.setup
    base, trained = architecture.num_parameters, architecture.num_trained
    recomputed = ", activations computed again" if setup.activation_checkpointing else ""
    return [
        f"{architecture.name}: {base:,} parameters in {len(architecture.layers)} layers, from {asked.config_file} alone",
        f"{setup.method}: {trained:,} parameters train ({100 * trained / base:.2f} % of the model's)",
        f"{_dtype_name(setup.itemsize)} on {setup.device}, micro-batches of {setup.tokens:,} tokens "
        f"in sequences of {asked.length:,}{recomputed}",
    ]


def _memory_lines(asked: Asked) -> list[str]:
    from tunesmith.train.fitting import NAMES
    from tunesmith.train.forecast import gigabytes

    verdict = asked.verdict
    memories = verdict.memories.values()
    rows = []
    for part, name in PART_NAMES.items():
        sizes = [memory.parts()[part] for memory in memories]
        if any(sizes):
            rows.append([name, *(gigabytes(size) if size else "" for size in sizes)])
    rows.append([f"needed, of {gigabytes(verdict.room)}", *(gigabytes(memory.total) for memory in memories)])
    if any(memory.host for memory in memories):
        rows.append(["beside it, of the host's", *(gigabytes(memory.host) if memory.host else "" for memory in memories)])
    head = ["memory" if verdict.processes == 1 else f"memory of each of {verdict.processes:,} processes"]
    return table([*head, *(NAMES[one] for one in verdict.memories)], rows, right=range(1, len(memories) + 1))


def _time_lines(asked: Asked) -> list[str]:
    from tunesmith.train.fitting import NAMES
    from tunesmith.train.forecast import in_words

    paces = list(asked.paces.values())
    rows = [["operations of a process", *(f"{one.operations / 1e12:,.2f} TFLOP" for one in paces)]]
    if paces[0].compute_seconds is not None:
        rows.append(["computing, at least", *(in_words(one.compute_seconds or 0.0) for one in paces)])
    if asked.verdict.processes > 1:
        rows.append(["sent by a process", *(f"{one.sent_bytes / 1e9:,.2f} GB" for one in paces)])
        if all(one.communication_seconds is not None for one in paces):
            rows.append(["sending", *(in_words(one.communication_seconds or 0.0) for one in paces)])
    if all(one.tokens_per_second for one in paces):
        rows.append(["tokens/s of all, at most", *(_range_in_words(one) for one in paces)])
    head = f"a step of {paces[0].tokens:,} tokens"
    rates = f"operations: {asked.sources['flops_per_second']}"
    sent = f"; between processes: {asked.sources['bandwidth']}" if asked.verdict.processes > 1 else ""
    return [*table([head, *(NAMES[one] for one in asked.paces)], rows, right=range(1, len(paces) + 1)), rates + sent]


def _range_in_words(pace: Pace) -> str:
    """Sending after computing, to sending meanwhile."""
    assert pace.tokens_per_second is not None
    after, meanwhile = (f"{rate:,.0f}" for rate in pace.tokens_per_second)
    return after if after == meanwhile else f"{after} to {meanwhile}"
