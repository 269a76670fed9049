"""A run or a model -> an export, checked against what it was made from before it gets its name.

>>> export_model("runs/faq", "merged", ExportConfig(), out=Path("exports/faq"))
Exported(kind='merged', directory=PosixPath('exports/faq'), …)

Everything is written under a temporary name, compared, synced and renamed. Where the comparison fails, what was written stays for a
look at under a name that ends in `.failed`, and the error says what differs.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tunesmith.config import ExportConfig
from tunesmith.data.publishing.hosted import HostedFile, write_for_tuner
from tunesmith.data.publishing.hub import HubRepository
from tunesmith.data.storing.directory import new_directory, require_free
from tunesmith.data.storing.prepared import load_data_of
from tunesmith.errors import ConfigError
from tunesmith.export import usage
from tunesmith.export.card import model_card
from tunesmith.export.gguf_file.architectures import architecture_of
from tunesmith.export.gguf_file.four_bits import KINDS, require_tool
from tunesmith.export.gguf_file.header import writing_of
from tunesmith.export.gguf_file.make import GgufFile, make_gguf
from tunesmith.export.hub import push_folder
from tunesmith.export.merged import write_adapter, write_merged
from tunesmith.export.ollama.write import OllamaWriting, plan_ollama
from tunesmith.export.parity import AVERAGE_TOLERANCE, TABLE_TOLERANCE, TOLERANCES, Parity, ParityError, compare
from tunesmith.export.prompts import ParityPrompts, choose_prompts
from tunesmith.export.reference import ReferenceAnswer, reference_answers
from tunesmith.export.runtimes import LLAMA_CPP_ABSENT, LlamaCppRuntime, TransformersRuntime, has_llama_cpp
from tunesmith.export.subject import Say, Subject, is_adapter_run, open_subject
from tunesmith.files import write_text
from tunesmith.runs import is_run, open_run
from tunesmith.tuned import open_base

Kind = Literal["merged", "gguf", "ollama", "adapter"]
"""What lies in the folder."""

_TYPE_OF_DTYPE = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written."""

    kind: Kind
    name: str
    directory: Path
    files: tuple[tuple[str, int], ...]
    """Name and bytes of each."""
    parity: Parity
    address: str | None = None
    """On the hub, where it was pushed."""


def export_model(
    reference: str | Path,
    kind: Kind,
    config: ExportConfig,
    *,
    out: Path | None = None,
    licence: str | None = None,
    device: str = "auto",
    say: Say | None = None,
) -> Exported:
    """Write an export and compare it with the model.

    Args:
        reference: a run, or any model.
        kind: what to write; `adapter` is for runs of LoRA alone.
        config: types, and how much is compared.
        out: the directory to write; None takes `exports/NAME-KIND`. It must not exist yet.
        licence: for the card.
        device: where to compute.
        say: told what is done.

    Raises:
        ParityError: the export is not the same model.
        ConfigError: the format cannot hold this model.
        AssetError: the model cannot be opened, or its weights are pickled.
        DataError: `out` is taken.
    """
    tell = say or _ignore
    _refuse_early(reference, kind, config)
    if out is not None:
        require_free(out)
    tell("Opening the model in float32.")
    subject = open_subject(reference, device=device, say=tell)
    target = out or Path("exports") / f"{subject.name}-{_suffix(kind, config)}"
    export = _Export(subject=subject, kind=kind, config=config, licence=licence, device=device, tell=tell)
    with new_directory(target) as staging:
        parity = export.write_into(staging)
        if parity.problem:
            raise _set_aside(staging, target, parity.problem)
    files = tuple((file.name, file.stat().st_size) for file in sorted(target.iterdir()))
    return Exported(kind=kind, name=subject.name, directory=target, files=files, parity=parity)


def push(exported: Exported, repository: HubRepository) -> Exported:
    """Put an export on the hub, into a repository that was looked at before it was made.

    Raises:
        AssetError: the hub refuses.
    """
    message = f"{exported.kind} export of {exported.name} by tunesmith"
    return replace(exported, address=push_folder(exported.directory, repository, message=message))


def export_data(reference: str | Path, out: Path | None) -> list[HostedFile]:
    """The data of a run as hosted tuners read chats.

    Raises:
        ConfigError: not a run.
        DataError: the data are gone, of a kind that such tuners do not take, or `out` is taken.
    """
    if not is_run(reference):
        remedy = "name a run, or use `tunesmith publish DATA --to openai` for a prepared data set"
        raise ConfigError("export --to openai-data", f"{reference} is no run", expected="a run, whose data are meant", remedy=remedy)
    run = open_run(Path(reference))
    return write_for_tuner(load_data_of(run), "openai", out or Path("exports") / f"{run.name}-openai-data")


def _refuse_early(reference: str | Path, kind: Kind, config: ExportConfig) -> None:
    """What needs no network to be seen."""
    if kind in ("gguf", "ollama") and config.gguf_type in KINDS:
        require_tool()
    if kind == "adapter" and not (is_run(reference) and is_adapter_run(open_run(Path(reference)))):
        expected = "a run of the method lora or qlora"
        raise ConfigError("export --adapter", f"{reference} has no adapter", expected=expected, remedy="leave out --adapter")


def _suffix(kind: Kind, config: ExportConfig) -> str:
    return f"{kind}-{config.gguf_type}" if kind in ("gguf", "ollama") else kind


def _set_aside(staging: Path, target: Path, problem: str) -> ParityError:
    """Keep what failed for a look, under a name that nobody takes for the export's."""
    names = (target.with_name(f"{target.name}{number}.failed") for number in ("", *(f"-{n}" for n in range(2, 1000))))
    failed = staging.rename(next(name for name in names if not name.exists()))
    remedy = f"look at {failed} and its parity.json, and do not use it; --to merged --dtype float32 is the most exact export"
    return ParityError(str(target), f"the export is not the model it was made from: {problem}", expected="the same model", remedy=remedy)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Export:
    """One export under way."""

    subject: Subject
    kind: Kind
    config: ExportConfig
    licence: str | None
    device: str
    tell: Say

    def write_into(self, staging: Path) -> Parity:
        """Reference answers first: merging changes the network in place."""
        config = self.config
        prompts = choose_prompts(self.subject, config.parity_examples, config.parity_tokens, self.tell)
        self.tell(f"Asking the model {len(prompts.prompts)} prompts ({prompts.origin}), to compare the export with.")
        answers = reference_answers(self.subject, prompts.prompts, config.parity_tokens)
        parity, how_to = {"merged": self._merged, "adapter": self._adapter, "gguf": self._gguf, "ollama": self._ollama}[self.kind](
            staging, prompts, answers
        )
        parity.write(staging)
        write_text(staging / "README.md", model_card(self.subject, parity, kind=self.kind, licence=self.licence, usage=how_to))
        return parity

    def _merged(self, staging: Path, prompts: ParityPrompts, answers: Sequence[ReferenceAnswer]) -> tuple[Parity, str]:
        dtype = self.subject.base_dtype if self.config.dtype == "base" else self.config.dtype
        self.tell(f"Writing the merged model in {dtype}.")
        write_merged(self.subject.merged(), self.subject, staging, dtype)
        gc.collect()
        self.tell("Comparing it in transformers.")
        runtime = TransformersRuntime.of_folder(staging, device=self._device)
        return self._compared(prompts, answers, runtime, TOLERANCES[_TYPE_OF_DTYPE[dtype]]), usage.merged(self.subject)

    def _adapter(self, staging: Path, prompts: ParityPrompts, answers: Sequence[ReferenceAnswer]) -> tuple[Parity, str]:
        run = self.subject.run
        assert run is not None, "refused before anything was opened"
        write_adapter(self.subject, run, staging)
        self.tell("Comparing it in PEFT.")
        base = open_base(run, dtype="float32", device=self.device)
        runtime = TransformersRuntime.of_adapter(staging, base.hugging_face_network)
        return self._compared(prompts, answers, runtime, TOLERANCES["f32"]), usage.adapter(self.subject)

    def _gguf(self, staging: Path, prompts: ParityPrompts, answers: Sequence[ReferenceAnswer]) -> tuple[Parity, str]:
        made = self._make_gguf(staging)
        parity = self._in_llama_cpp(made, prompts, answers)
        return parity, usage.gguf(made.path.name)

    def _ollama(self, staging: Path, prompts: ParityPrompts, answers: Sequence[ReferenceAnswer]) -> tuple[Parity, str]:
        plan = plan_ollama(self.subject, self.config)
        said = plan.prove(self.subject, prompts.prompts)
        made = self._make_gguf(staging)
        write_text(staging / "Modelfile", plan.modelfile(made.path.name))
        parity = self._in_llama_cpp(made, prompts, answers, plan.text)
        return replace(parity, template=said), usage.ollama(self.subject.name, plan.template.limits)

    def _make_gguf(self, staging: Path) -> GgufFile:
        return make_gguf(self.subject, staging, self.config.gguf_type, licence=self.licence, say=self.tell)

    def _in_llama_cpp(
        self, made: GgufFile, prompts: ParityPrompts, answers: Sequence[ReferenceAnswer], modelfile: OllamaWriting | None = None
    ) -> Parity:
        """By the file's own template and ends, or as a Modelfile, which has its own of both, writes prompts."""
        if not has_llama_cpp():
            unasked = Parity(prompts=prompts.origin, num_special=prompts.num_special, runtimes=(), not_checked=(LLAMA_CPP_ABSENT,))
            return replace(unasked, read_back=made.said, limits=made.limits)
        self.tell("Comparing it in llama.cpp.")
        longest = max(len(answer.prompt.token_ids) for answer in answers) + self.config.parity_tokens + 1
        renderer = self.subject.opened.renderer
        stop_ids = renderer.stop_ids if modelfile else frozenset[int]()
        render = modelfile or writing_of(made.header, renderer, file=made.path)
        runtime = LlamaCppRuntime(made.path, context_length=longest, render=render, stop_ids=stop_ids)
        in_four_bits = self.config.gguf_type in KINDS
        rounds = architecture_of(self.subject.opened.hugging_face_network.config).rounds_activations
        tolerance = AVERAGE_TOLERANCE if in_four_bits else max(TOLERANCES[self.config.gguf_type], TABLE_TOLERANCE if rounds else 0.0)
        parity = self._compared(prompts, answers, runtime, tolerance, is_on_average=in_four_bits)
        return replace(parity, read_back=made.said, limits=made.limits)

    def _compared(
        self,
        prompts: ParityPrompts,
        answers: Sequence[ReferenceAnswer],
        runtime: TransformersRuntime | LlamaCppRuntime,
        tolerance: float,
        *,
        is_on_average: bool = False,
    ) -> Parity:
        most = self.config.parity_tokens
        found = compare(answers, runtime, tolerance=tolerance, max_new_tokens=most, is_on_average=is_on_average)
        return Parity(prompts=prompts.origin, num_special=prompts.num_special, runtimes=(found,))

    @property
    def _device(self) -> str:
        return str(self.subject.opened.loaded.device)


def _ignore(sentence: str) -> None:
    """Nobody listens."""
