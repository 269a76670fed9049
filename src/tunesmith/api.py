"""The loop in Python: three lines from a file to a tuned model, and the same under the call shapes that courses teach.

    model = Model("smollm2-135m-instruct")
    model.load_data("faq.jsonl")
    run = model.train(epochs=2)

Everything lands in files that the command line reads too: the data under `prepared/`, the run under `runs/`. Later:

    model = Model(run.id)                       # opens it again
    print(run.dashboard_url)                    # where `tunesmith studio` shows it
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload
from urllib.parse import quote, urlencode

from tunesmith.api_ranks import run_in_group, wants_group
from tunesmith.assets import list_models
from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, StudioConfig, TrainConfig, build
from tunesmith.data.prepare import prepare
from tunesmith.data.reading.readers import rows_from_dataframe, rows_from_records
from tunesmith.data.storing.prepared import PreparedData, load_prepared
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.evaluate.records import EvaluationRecord, read_records
from tunesmith.evaluate.report import EvaluationReport, read_report
from tunesmith.evaluate.table import example_row
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.train.observer import Observer
from tunesmith.train.train import train
from tunesmith.tuned import OpenedModel, open_model, open_tuned
from tunesmith.types import Message, Row

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What `train()` returns; printing it shows where to look at it."""

    id: str
    """The run's name; `Model(id)` opens it again."""
    directory: Path

    @property
    def dashboard_url(self) -> str:
        """The run's page, once `studio_command` runs."""
        return f"{_studio_address()}/runs/{quote(self.id, safe='')}"

    @property
    def playground_url(self) -> str:
        """Base and tuned model side by side, once `studio_command` runs."""
        return f"{_studio_address()}/playground?{urlencode({'run': self.id})}"

    @property
    def studio_command(self) -> str:
        """Started in this directory, it serves both addresses."""
        runs_dir = self.directory.parent
        is_default = runs_dir.resolve() == StudioConfig().runs.resolve()
        return shlex.join(["tunesmith", "studio", *([] if is_default else ["--runs", str(runs_dir)])])

    def __str__(self) -> str:
        lines = [f"run {self.id} is in {self.directory}", f"  dashboard   {self.dashboard_url}", f"  playground  {self.playground_url}"]
        return "\n".join([*lines, f"  both come from: {self.studio_command}"])

    @property
    def manifest(self) -> dict[str, Any]:
        """The run's results: steps, best validation loss, tokens per second, peak memory."""
        return RunDirectory(self.directory).manifest()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Base against tuned; printing it shows the figures and the verdict."""

    report: EvaluationReport
    records: tuple[EvaluationRecord, ...]
    html: Path
    """A page for people."""

    def __str__(self) -> str:
        return "\n".join([*self.report.summary_lines(), "", f"report: {self.html}"])

    def to_dataframe(self) -> pandas.DataFrame:
        """One row an example: prompt, reference, what both models said, every score of both, and what changed sides."""
        from pandas import DataFrame

        return DataFrame([example_row(record, self.report) for record in self.records])


class Model:
    """A model to prompt, to tune and to compare with what it was."""

    def __init__(
        self,
        model_name: str | Path = "smollm2-135m-instruct",
        *,
        runs_dir: str | Path = "runs",
        data_dir: str | Path = "prepared",
        observer: Observer | None = None,
        dtype: str = "auto",
        device: str = "auto",
    ) -> None:
        """Name the model: `smollm2-135m-instruct`, a hub id, a folder, a `.gguf` file or a run. Nothing is loaded yet.

        A run is named by its path, or by its name in `runs_dir`; it answers, and is evaluated, as right after its training, and `train`
        goes on from it in a new run.

        Raises:
            ConfigError: a run in `runs_dir` has the name of a named model.
            RunError: the run's record cannot be read.
        """
        self.runs_dir, self.data_dir = Path(runs_dir), Path(data_dir)
        self.run: RunDirectory | None = _run_of(str(model_name), self.runs_dir)
        self.model_name = str(self.run.path if self.run else model_name)
        self.observer, self.dtype, self.device = observer, dtype, device
        self.data: PreparedData | None = None
        self._opened: OpenedModel | None = None

    def load_data(
        self,
        source: str | Path | Sequence[str | Path] | Sequence[Mapping[str, Any]] | Any,
        *,
        input_key: str | None = None,
        output_key: str | None = None,
        **settings: Any,
    ) -> PreparedData:
        """Check and split examples: a prepared directory, file(s), a list of dicts, or a pandas DataFrame.

        Args:
            source: where the examples are.
            input_key: the column with the prompt; recognised when left out.
            output_key: the column with the right answer; recognised when left out.
            settings: any other field of `PrepareConfig`.

        Raises:
            DataError: see `prepare`.
        """
        if isinstance(source, str | Path) and (Path(source) / "manifest.json").is_file():
            self.data = load_prepared(Path(source))
            return self.data
        config = build(PrepareConfig, {**settings, "prompt_key": input_key, "completion_key": output_key}, place="load_data")
        name, files, rows = _source(source)
        # Named by the moment, so that loading twice never meets a directory that is there.
        out = self.data_dir / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}"
        self.data = prepare(files, out, config, rows=rows)
        return self.data

    def train(self, *, name: str | None = None, processes: int | None = None, **settings: Any) -> TrainedRun:
        """Tune on the loaded data; from then on this model answers as the tuned one. Prints where the studio shows the run.

        Args:
            name: of the run; date, data and model when left out.
            processes: of this machine that share the work, such as one for each GPU; one when left out, or as many as torchrun started.
            settings: any field of `TrainConfig`, e.g. `method="full"`, `epochs=2`.

        Raises:
            DataError: no data was loaded.
            PreflightError: the examples would be trained wrongly.
            GroupError: one of several processes was lost.
        """
        if self.data is None:
            raise DataError("Model.train", "no data", expected="examples", remedy="call load_data(...) first")
        values = {"dtype": self.dtype, "device": self.device, **settings, "model": self.model_name, "data": self.data.directory}
        config = build(TrainConfig, values, place="Model.train")
        self._opened = None  # two networks at a time are one too many
        if wants_group(processes, "Model.train", is_watched=self.observer is not None):
            assert processes is not None
            arguments = {"config": config.model_dump(mode="json"), "runs_dir": str(self.runs_dir), "name": name}
            self.run = open_run(run_in_group("train", arguments, processes=processes))
        else:
            self.run = train(config, runs_dir=self.runs_dir, name=name, observer=self.observer)
        trained = TrainedRun(id=self.run.name, directory=self.run.path)
        print(trained)
        return trained

    def evaluate(self, *, processes: int | None = None, **settings: Any) -> Evaluation:
        """Compare base and tuned model on the held-out examples.

        Args:
            processes: of this machine that share the asking, as in `train`.
            settings: any field of `EvaluateConfig`, and `max_new_tokens`, `batch_size` of its generation.

        Raises:
            ConfigError: nothing was trained.
        """
        if self.run is None:
            raise ConfigError(
                "Model.evaluate",
                "nothing was trained",
                expected="a tuned model beside the base",
                remedy="call train() first, or open a run",
            )
        generation = {key: settings.pop(key) for key in list(settings) if key in GenerateConfig.model_fields and key != "seed"}
        values = {"generation": build(GenerateConfig, generation, place="Model.evaluate"), **settings}
        config = build(EvaluateConfig, values, place="Model.evaluate")
        self._opened = None
        if wants_group(processes, "Model.evaluate"):
            assert processes is not None
            arguments = {"run": str(self.run.path), "config": config.model_dump(mode="json"), "dtype": self.dtype, "device": self.device}
            run_in_group("evaluate", arguments, processes=processes)
            report = read_report(self.run)
        else:
            report = evaluate_run(self.run, config, dtype=self.dtype, device=self.device)
        return Evaluation(report=report, records=tuple(read_records(self.run.evaluation_records_file)), html=self.run.html_report_file)

    @overload
    def __call__(self, prompt: str, **settings: Any) -> str: ...
    @overload
    def __call__(self, prompt: Sequence[str], **settings: Any) -> list[str]: ...
    def __call__(self, prompt: str | Sequence[str], **settings: Any) -> str | list[str]:
        """Answer a prompt, or a list of them in one batch; `settings` are fields of `GenerateConfig`."""
        config = build(GenerateConfig, settings, place="Model call")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        conversations = [[Message(role="user", content=text)] for text in prompts]
        texts = [completion.text for completion in self._open().complete(conversations, config)] if prompts else []
        return texts[0] if isinstance(prompt, str) else texts

    def _open(self) -> OpenedModel:
        if self._opened is None:
            if self.run:
                self._opened = open_tuned(self.run, dtype=self.dtype, device=self.device)
            else:
                self._opened = open_model(self.model_name, dtype=self.dtype, device=self.device)
        return self._opened


class BasicModelRunner(Model):
    """`Model` under the call shapes that courses on fine-tuning teach; everything runs on this machine."""

    def load_data_from_jsonlines(
        self, file_path: str | Path, *, input_key: str = "input", output_key: str = "output", **settings: Any
    ) -> None:
        """Load a JSON Lines file."""
        self.load_data(file_path, input_key=input_key, output_key=output_key, **settings)

    def load_data_from_csv(self, file_path: str | Path, *, input_key: str = "input", output_key: str = "output", **settings: Any) -> None:
        """Load a CSV file."""
        self.load_data(file_path, input_key=input_key, output_key=output_key, **settings)

    def load_data_from_dataframe(self, df: Any, *, input_key: str = "input", output_key: str = "output", **settings: Any) -> None:
        """Load a pandas DataFrame."""
        self.load_data(df, input_key=input_key, output_key=output_key, **settings)

    def train(self, *, is_public: bool = False, name: str | None = None, processes: int | None = None, **settings: Any) -> TrainedRun:
        """As `Model.train`. Nothing can be public here: `is_public=True` is refused rather than ignored.

        Raises:
            ConfigError: `is_public` is True.
        """
        if is_public:
            raise ConfigError(
                "BasicModelRunner.train",
                "is_public=True",
                expected="False: models stay on this machine",
                remedy="share the run directory yourself if you want to",
            )
        return super().train(name=name, processes=processes, **settings)

    def evaluate(self, **settings: Any) -> dict[str, Any]:  # type: ignore[override]
        """The held-out answers, tuned model first, base model second."""
        evaluation = super().evaluate(**settings)
        assert self.run is not None
        return {
            "eval_results": [
                {
                    "input": record.prompt,
                    "outputs": [
                        {"model_name": self.run.name, "output": record.tuned.completion},
                        {"model_name": evaluation.report.model_name, "output": record.base.completion},
                    ],
                }
                for record in evaluation.records
            ]
        }


def _studio_address() -> str:
    """Of `tunesmith studio` with its defaults."""
    defaults = StudioConfig()
    return f"http://{defaults.host}:{defaults.port}"


def _run_of(name: str, runs_dir: Path) -> RunDirectory | None:
    """The run that is meant, by its path or its name; None where it is a model."""
    if is_run(name):
        return open_run(Path(name))
    is_model = Path(name).is_file() or (Path(name) / "config.json").is_file()
    if is_model or Path(name).name != name or not is_run(runs_dir / name):
        return None
    if name in {model.name for model in list_models()}:
        raise ConfigError(
            "Model",
            f"{name!r} is a named model, and a run in {runs_dir}",
            expected="a name that says which of them",
            remedy=f"give the run's path ({runs_dir / name}), or rename its directory",
        )
    return open_run(runs_dir / name)


class _Source(NamedTuple):
    """Where examples come from: files, or rows in memory."""

    name: str
    files: list[str | Path]
    rows: list[Row]


def _source(source: Any) -> _Source:
    if isinstance(source, str | Path):
        return _Source(Path(source).stem, [source], [])
    if hasattr(source, "to_dict"):
        return _Source("dataframe", [], rows_from_dataframe(source))
    items = list(source)
    if items and isinstance(items[0], str | Path):
        return _Source(Path(items[0]).stem, items, [])
    return _Source("records", [], rows_from_records(items))
