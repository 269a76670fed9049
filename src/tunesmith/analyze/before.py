"""Before any training: what the base model gets wrong on your examples, and so which data would lift it most.

>>> analysis = analyze_model("smollm2-135m-instruct", ["prepared/faq"], Path("faq-analysis"), AnalyzeConfig(), EvaluateConfig(limit=100))

Of a prepared data set, held-out examples are answered (or, with the split `train`, a sample of the training examples) and the
training examples are what failures are compared with; of files, a sample is answered and the rest is compared with.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.analyze.actions import Origin
from tunesmith.analyze.analysis import analyze_records
from tunesmith.analyze.analyze import judged, longest_reference, write_analysis
from tunesmith.analyze.found import read_groups
from tunesmith.analyze.judging import Judge
from tunesmith.analyze.nearest import Space
from tunesmith.analyze.results import Analysis
from tunesmith.config import AnalyzeConfig, EvaluateConfig, PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import to_examples
from tunesmith.data.reading.sources import open_sources
from tunesmith.data.storing.prepared import MANIFEST, PreparedData, load_prepared
from tunesmith.errors import DataError
from tunesmith.evaluate.answering import OnProgress, answer_examples, make_records, render_examples
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.records import ANSWERS, write_records
from tunesmith.evaluate.scorers import resolve_scorers
from tunesmith.tuned import open_model
from tunesmith.types import Example

LABEL = "base"
MOST_TOKENS = 2048
"""Of an example, unless the model's context is shorter."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked, and what the failures are compared with."""

    asked: tuple[Example, ...]
    others: Sequence[Example]
    data: PreparedData | None
    """None for files."""


def analyze_model(
    model: str,
    sources: Sequence[str | Path],
    out: Path,
    config: AnalyzeConfig,
    evaluation: EvaluateConfig,
    *,
    template: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    judge: Judge | None = None,
    say: Callable[[str], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Analysis:
    """Let a model answer examples, and write the analysis of its answers to the directory `out`.

    Args:
        model: a name, a folder, a hub id or a run.
        sources: a prepared directory, or files as `prepare` reads them.
        out: an earlier analysis of the same data there is replaced.
        config: of the analysis.
        evaluation: split, sample and generation.
        template: prompt template; None takes the data set's.
        dtype: compute type.
        device: where to compute.
        judge: who says whether an answer contradicts its reference; None leaves that open.
        say: told what is left out.
        on_progress: as `answer_examples`.

    Raises:
        DataError: there is nothing to ask, or `out` holds something else.
        AssetError: there is no such model.
    """
    tell = say or _ignore
    require_own(out)
    questions = read_questions(sources, evaluation)
    opened = open_model(model, template=template or (questions.data.template if questions.data else "auto"), dtype=dtype, device=device)
    rendered = render_examples(questions.asked, opened.renderer, min(MOST_TOKENS, opened.loaded.context_length), tell)
    answers = answer_examples(opened, rendered, evaluation, LABEL, on_progress=on_progress)
    records = make_records(rendered, {LABEL: answers}, resolve_scorers(None, questions.asked, train=questions.others))
    out.mkdir(parents=True, exist_ok=True)
    write_records(out / ANSWERS, records)
    verdicts, notes = judged(records, judge, out)
    origin = Origin(
        analysed=out,
        data=questions.data.directory if questions.data else None,
        model=model,
        options=_options(out, sources[0], model, evaluation),
        max_new_tokens=evaluation.generation.max_new_tokens,
        longest_reference=longest_reference(records),
    )
    analysis = analyze_records(
        records,
        questions.others,
        config,
        right_rule=RightRule.choose(records, evaluation.right_threshold, evaluation),
        space=Space.open(config.embeddings),
        origin=origin,
        contradictions=verdicts,
        notes=notes,
        earlier=read_groups(out),
    )
    write_analysis(out, analysis, questions.others, questions.data)
    return analysis


def _options(out: Path, source: str | Path, model: str, evaluation: EvaluateConfig) -> str:
    """Of `analyze`, that say what was asked and where the answers are."""
    elsewhere = [] if out == default_out(source, model) else [f"--out {shlex.quote(str(out))}"]
    split = [] if evaluation.split == "test" else [f"--split {evaluation.split}"]
    return " ".join([*elsewhere, *split, f"--limit {evaluation.limit}" if evaluation.limit else ""]).strip()


def default_out(source: str | Path, model: str) -> Path:
    """Beside the data: `prepared/faq-analysis-smollm2-135m-instruct`."""
    path = Path(source)
    return path.with_name(f"{path.name.partition('.')[0] or 'data'}-analysis-{Path(model).name}")


def require_own(out: Path) -> None:
    """Refuse a directory that is no analysis.

    Raises:
        DataError: it holds something else.
    """
    if out.exists() and not (out.is_dir() and ((out / ANSWERS).is_file() or not any(out.iterdir()))):
        raise DataError(str(out), "it exists and is no analysis", expected="a new directory, or an earlier analysis", remedy="choose --out")


def read_questions(sources: Sequence[str | Path], evaluation: EvaluateConfig) -> Questions:
    """What to ask, a seeded sample where there is a limit.

    Raises:
        DataError: the split is empty, or the sources hold no prompts with answers.
    """
    if len(sources) == 1 and (Path(sources[0]) / MANIFEST).is_file():
        data = load_prepared(Path(sources[0]))
        split = {"train": data.train, "validation": data.validation, "test": data.test}[evaluation.split]
        asked, rest = _sample(split, evaluation, f"the {evaluation.split} split of {data.directory}")
        return Questions(asked=asked, others=rest if evaluation.split == "train" else data.train, data=data)
    examples: list[Example] = []
    for source in open_sources([str(one) for one in sources]):
        rows, config = list(source.read()), PrepareConfig(on_invalid="drop")
        examples += to_examples(rows, recognise(rows, config), config).examples
    asked, rest = _sample(examples, evaluation, " ".join(map(str, sources)))
    return Questions(asked=asked, others=rest, data=None)


def _sample(examples: Sequence[Example], evaluation: EvaluateConfig, place: str) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(chosen, rest), both in their order."""
    usable = [example for example in examples if example.messages and example.label is not False]
    if not usable:
        remedy = "choose another --split, or other files"
        raise DataError(place, "it has no prompts with right answers", expected="prompts and answers", remedy=remedy)
    count = min(len(usable), evaluation.limit or len(usable))
    chosen = set(random.Random(evaluation.seed).sample(range(len(usable)), count))  # noqa: S311 - a sample, not a secret
    parts = ([one for index, one in enumerate(usable) if (index in chosen) is wanted] for wanted in (True, False))
    asked, rest = map(tuple, parts)
    return asked, rest


def _ignore(*_: object) -> None:
    """Nobody is watching."""
