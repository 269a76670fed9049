"""`tunesmith preview`: what the model will see. Loads the tokenizer, not the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import Json
from tunesmith.cli.pictures import histogram_lines
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import console, print_json, print_wrapped, suggest
from tunesmith.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tunesmith.data.storing.prepared import PreparedData
    from tunesmith.render.lengths import Lengths
    from tunesmith.render.renderer import Renderer
    from tunesmith.types import Example, ExampleKind, RenderedExample

CHOOSING = "Which examples"


def preview(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tunesmith prepare`.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A named model, a hub id, a folder, a .gguf file, or a run directory.",
            show_default=False,
            rich_help_panel=NEEDED,
        ),
    ],
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Prompt template: auto, chat, qa, alpaca, or a file. [default: the run's, or the data set's]"
        ),
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Show examples of this split.", rich_help_panel=CHOOSING)
    ] = "train",
    index: Annotated[
        int | None, typer.Option(metavar="N", help="Show the Nth example of the split, counted from 1.", rich_help_panel=CHOOSING)
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Show the example from this place, such as faq.jsonl:17, of any split.", rich_help_panel=CHOOSING
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", help="Show this many examples from the split's start.", rich_help_panel=CHOOSING)] = 3,
    longest: Annotated[bool, typer.Option("--longest", help="Show the longest examples, not the first.", rich_help_panel=CHOOSING)] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="List every token with its id and whether it is supervised.")] = False,
    as_json: Json = False,
) -> None:
    """Show examples as the model will see them, the tokens it learns from in green, and how long all of the split are."""
    from tunesmith.data.storing.prepared import load_prepared
    from tunesmith.render.chunks import render_all
    from tunesmith.render.lengths import Histogram, measure_lengths

    prepared = load_prepared(data)
    chosen = choose(prepared, split, index, source, count)
    if longest and (index is not None or source is not None):
        raise ConfigError("preview", "--longest with --index or --source", expected="one of them", remedy="leave one out")
    with waiting("loading the tokenizer"):
        reader = open_reader(model, template, prepared.template)
    examples: Sequence[Example] = getattr(prepared, split)
    with waiting("counting tokens"):
        lengths = measure_lengths(examples, reader.renderer, reader.max_length)
    split_counts, histogram = Counts.of(lengths, examples, reader), Histogram.of(lengths.tokens)
    if longest:
        chosen = [examples[int(number)] for number in (-lengths.tokens).argsort(kind="stable")[:count]]
    rendered = [render_all(example, reader.renderer, reader.max_length) for example in chosen]
    if as_json:
        drawn = {"width": histogram.width, "counts": histogram.counts, "coverage": histogram.coverage}
        print_json(
            {"split": split, **split_counts.record(), "lengths": drawn, "examples": [_record(one, reader.renderer) for one in rendered]}
        )
        return
    _show(rendered, reader.renderer, tokens=tokens)
    print_wrapped(f"{split}: {split_counts.sentence()}")
    print()
    for line in histogram_lines(histogram, reader.max_length):
        print(line)
    suggest(["train", data, "--model", model])


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a model reads, without the model."""

    renderer: Renderer
    max_length: int
    """Tokens an example may have in training."""


def open_reader(model: str, template: str | None, data_template: str) -> Reader:
    """The renderer that training with `--model MODEL` would use."""
    from tunesmith.assets import resolve_model
    from tunesmith.cli.terminal import say
    from tunesmith.engine.loading import load_tokenizer
    from tunesmith.render.renderer import Renderer
    from tunesmith.runs import is_run, open_run
    from tunesmith.train.train import DEFAULT_MAX_LENGTH
    from tunesmith.tuned import run_tokenizer, stored_renderer

    is_open = template in (None, "auto")
    if is_run(model):
        run = open_run(Path(model))
        tokenizer, max_length = run_tokenizer(run), int(run.record()["config"]["max_length"])
        renderer = stored_renderer(run, tokenizer) if is_open else Renderer.for_model(tokenizer, str(template))
    else:
        directory = resolve_model(model, on_progress=say).directory
        max_length = min(DEFAULT_MAX_LENGTH, context_length(directory))
        renderer = Renderer.for_model(load_tokenizer(directory), data_template if is_open else str(template))
    return Reader(renderer=renderer, max_length=max_length)


def context_length(directory: Path) -> int:
    """Of a model folder, from its configuration alone."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(directory, local_files_only=True).get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 2048)


def choose(prepared: PreparedData, split: str, index: int | None, source: str | None, count: int) -> Sequence[Example]:
    """The examples to show.

    Raises:
        DataError: there is no such example.
        ConfigError: index and source are both given, or a number is no number of an example.
    """
    if source is not None and index is not None:
        raise ConfigError("preview", "--index and --source", expected="one of them", remedy="leave one out")
    if count < 1 or (index is not None and index < 1):
        raise ConfigError("preview", f"{count if index is None else index}", expected="1 or more", remedy="correct --count or --index")
    examples: Sequence[Example] = getattr(prepared, split)
    if source is not None:
        found = [example for example in (*prepared.train, *prepared.validation, *prepared.test) if example.source == source]
        if not found:
            raise _no_such(prepared, f"no example comes from {source!r}", f"a place such as {prepared.train[0].source}")
        return found
    if index is not None and index > len(examples):
        raise _no_such(prepared, f"there is no example {index} in the {split} split", f"1 to {len(examples)}")
    if not examples:
        raise _no_such(prepared, f"the {split} split is empty", "at least one example")
    return examples[index - 1 : index] if index is not None else examples[:count]


def _no_such(prepared: PreparedData, found: str, expected: str) -> DataError:
    remedy = f"look it up in {prepared.directory}; rows left out are in {prepared.directory / 'report.json'}"
    return DataError(str(prepared.directory), found, expected=expected, remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Tokens of a whole split; of preference pairs those of both answers, of long raw texts those of their windows."""

    num_examples: int
    num_tokens: int
    num_supervised: int
    longest: int
    max_length: int
    num_over_length: int
    num_windows: int
    """As many as examples, unless raw texts were cut."""
    kind: ExampleKind | None
    """None where the split is empty."""

    @classmethod
    def of(cls, lengths: Lengths, examples: Sequence[Example], reader: Reader) -> Counts:
        return cls(
            num_examples=len(examples),
            num_tokens=lengths.num_tokens,
            num_supervised=lengths.num_supervised,
            longest=int(lengths.tokens.max(initial=0)),
            max_length=reader.max_length,
            num_over_length=int((lengths.tokens > reader.max_length).sum()),
            num_windows=lengths.num_windows,
            kind=examples[0].kind if examples else None,
        )

    def record(self) -> Mapping[str, int | str | None]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def sentence(self) -> str:
        share = f" ({100 * self.num_supervised / self.num_tokens:.0f} %)" if self.num_tokens else ""
        nouns = {"pair": "preference pair", "judged": "judged answer", "text": "text"}
        noun = nouns.get(self.kind or "", "example") + ("" if self.num_examples == 1 else "s")
        windows = f" in {self.num_windows:,} windows" if self.num_windows > self.num_examples else ""
        return (
            f"{self.num_examples:,} {noun}{windows}, {self.num_tokens:,} tokens, {self.num_supervised:,} of them supervised{share}; "
            f"the longest has {self.longest:,}, {self.num_over_length:,} are over {self.max_length:,}"
        )


def _record(renderings: Sequence[RenderedExample], renderer: Renderer) -> dict[str, Any]:
    """One example; of a preference pair the rejected answer's rendering under `rejected`, of a raw text its first window."""
    first = renderings[0]
    example = first.example
    record = {"id": example.id, "source": example.source, "kind": example.kind, **_tokens(first, renderer)}
    if example.kind == "pair":
        record["rejected"] = _tokens(renderings[1], renderer)
    if example.kind == "judged":
        record["label"] = example.label
    if first.num_windows > 1:
        record["num_windows"] = first.num_windows
    return record


def _tokens(rendered: RenderedExample, renderer: Renderer) -> dict[str, Any]:
    from tunesmith.render import picture

    spans = [{"text": span.text, "supervised": span.supervised} for span in picture.spans(rendered, renderer)]
    return {"spans": spans, "token_ids": list(rendered.token_ids), "supervised": list(rendered.supervised)}


def _show(rendered: Sequence[Sequence[RenderedExample]], renderer: Renderer, *, tokens: bool) -> None:
    """Both answers of a preference pair, the first window of a raw text."""
    from tunesmith.cli.pictures import draw, token_lines

    screen = console(to_stdout=True)
    for renderings in rendered:
        for one, what in _titled(renderings):
            draw(one, renderer, screen, what)
            for line in token_lines(one, renderer) if tokens else ():
                screen.print(line)
            screen.print()


def _titled(renderings: Sequence[RenderedExample]) -> list[tuple[RenderedExample, str]]:
    """What to show of an example, and what it is beside its source."""
    first = renderings[0]
    if first.example.kind == "pair":
        return list(zip(renderings, ("chosen", "rejected"), strict=True))
    if first.example.kind == "judged":
        return [(first, "desirable" if first.example.label else "undesirable")]
    return [(first, f"window 1 of {first.num_windows:,}" if first.num_windows > 1 else "")]


command = verb(
    preview,
    "DIR --model MODEL",
    "tunesmith preview prepared/faq --model smollm2-135m-instruct",
    "tunesmith preview prepared/faq --model smollm2-135m-instruct --longest --count 1",
    "tunesmith preview prepared/faq --model gemma3-270m --template qa --source faq.jsonl:17 --tokens",
)
