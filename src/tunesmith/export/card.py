"""The model card, made from the run: base and licence, how to prompt it, data, settings, scores with intervals, known failures, parity.

What stands in it comes from the run's own files; of the user's data it has sizes and a fingerprint, never a text or a path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from tunesmith.config import ADAPTER_METHODS
from tunesmith.data.storing.prepared import load_data_of
from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.markdown import escaped, render_markdown
from tunesmith.evaluate.report import read_report
from tunesmith.export.parity import Parity
from tunesmith.export.subject import Subject
from tunesmith.render.templates import TEMPLATE_NAMES, ChatTemplate, TextTemplate
from tunesmith.runs import RunDirectory

GEMMA_TERMS = "https://ai.google.dev/gemma/terms"
GEMMA_POLICY = "https://ai.google.dev/gemma/prohibited_use_policy"

_SETTINGS = (
    "method", "objective", "template", "max_length", "lora", "new_tokens", "trainable_layers", "epochs", "max_steps", "examples_per_step",
    "tokens_per_step", "learning_rate", "schedule", "warmup_fraction", "optimizer", "weight_decay", "max_grad_norm", "seed", "dtype",
)  # fmt: skip
"""Of a run, what a card shows: nothing that is a path, but for a template's, which `_value` leaves out."""


def model_card(subject: Subject, parity: Parity | None, *, kind: str, licence: str | None, usage: str) -> str:
    """README.md.

    Args:
        subject: what was exported.
        parity: what the check found.
        kind: `merged`, `adapter`, `gguf`, `ollama`.
        licence: of the tuned model, as its maker names it; None takes the base's.
        usage: how to load it, Markdown.
    """
    parts = [
        f"---\n{yaml.safe_dump(_metadata(subject, kind, licence), sort_keys=False, allow_unicode=True).strip()}\n---",
        f"# {escaped(subject.name)}",
        _origin(subject),
        _licence(subject, licence),
        f"## How to use it\n\n{usage}",
        _prompting(subject),
        *(_of_the_run(subject.run) if subject.run else []),
        _parity(parity) if parity else "",
    ]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def _metadata(subject: Subject, kind: str, licence: str | None) -> dict[str, Any]:
    name = licence or _identifier(subject)
    libraries = {"adapter": "peft", "merged": "transformers"}
    values: dict[str, Any] = {"pipeline_tag": "text-generation", "tags": ["tunesmith", *(["gguf"] if kind in ("gguf", "ollama") else [])]}
    values |= {"library_name": libraries[kind]} if kind in libraries else {}
    values |= {"base_model": subject.origin.hub_id} if subject.origin.hub_id else {}
    return values | ({"license": name} if name else {})


def _identifier(subject: Subject) -> str | None:
    """The hub's own name of the base's licence."""
    if _is_gemma(subject):
        return "gemma"
    known = subject.origin.licence.lower()
    return known if known not in ("unknown", "") and " " not in known else None


def _is_gemma(subject: Subject) -> bool:
    return "gemma" in subject.origin.licence.lower() or str(subject.opened.hugging_face_network.config.model_type).startswith("gemma")


def _origin(subject: Subject) -> str:
    hub_id = subject.origin.hub_id
    base = f"[{hub_id}](https://huggingface.co/{hub_id})" if hub_id else escaped(subject.origin.name)
    source = f" ({escaped(subject.origin.source)})" if subject.origin.source else ""
    if subject.run is None:
        return f"{base}{source}, exported with tunesmith."
    method = subject.run.record()["config"]["method"]
    four_bits = ", on this base in four bits (NF4)" if method == "qlora" else ""
    return f"{base}{source}, tuned with tunesmith by the method {method}{four_bits}."


def _licence(subject: Subject, licence: str | None) -> str:
    own = f"This model: {escaped(licence)}. " if licence else ""
    base = f"The base model's licence: {escaped(subject.origin.licence)}."
    if not _is_gemma(subject):
        return f"## Licence\n\n{own}{base}"
    modified = "The weights were modified by fine-tuning. " if subject.run else ""
    gemma = (
        f"A model made from Gemma stays under the [Gemma Terms of Use]({GEMMA_TERMS}), which you accept by using it; its uses are bound by "
        f"the [Prohibited Use Policy]({GEMMA_POLICY}). {modified}Whoever passes this model on passes these "
        "terms on with it. Gemma is provided under and subject to the Gemma Terms of Use."
    )
    return f"## Licence\n\n{own}{base} {gemma}"


def _prompting(subject: Subject) -> str:
    template = subject.opened.renderer.template
    stops = ", ".join(f"`{subject.opened.renderer.decode([one])}`" for one in sorted(subject.opened.renderer.stop_ids))
    if subject.opened.trained_on_text:
        return f"## How to prompt it\n\nIt was tuned on raw text: give it the beginning of a text, without a template. It stops at {stops}."
    if isinstance(template, ChatTemplate):
        return f"## How to prompt it\n\nBy its chat template (`tokenizer.apply_chat_template`); an answer ends at {stops}."
    assert isinstance(template, TextTemplate), type(template).__name__
    texts = [f"```text\n{template.body}```"]
    if template.body_with_input:
        texts.append(f"With an `input` (`apply_chat_template(messages, input=...)`):\n\n```text\n{template.body_with_input}```")
    head = f"In plain text, which its chat template (`tokenizer.apply_chat_template`) writes; an answer ends at {stops}."
    return "\n\n".join(["## How to prompt it", head, *texts])


def _of_the_run(run: RunDirectory) -> list[str]:
    return [_data(run), _training(run), _evaluation(run)]


def _data(run: RunDirectory) -> str:
    lines = [f"fingerprint `{run.record()['data']['fingerprint']}`"]
    try:
        data = load_data_of(run)
    except (DataError, RunError):
        lines.append("sizes not known: the data set is no longer where the run found it")
    else:
        sizes = {"training": len(data.train), "validation": len(data.validation), "test": len(data.test)}
        lines += [f"{name}: {size:,} examples" for name, size in sizes.items()]
    return "## Training data\n\n" + "\n".join(f"- {line}" for line in lines)


def _training(run: RunDirectory) -> str:
    config, manifest = run.record()["config"], run.manifest()
    foreign = {"trainable_layers"} if config["method"] != "freeze" else set()
    foreign |= {"lora"} if config["method"] not in ADAPTER_METHODS else set()
    shown = [name for name in _SETTINGS if name not in foreign and config.get(name) not in (None, [], ())]
    rows = [f"| {name} | {escaped(_value(name, config[name]))} |" for name in shown]
    versions = ", ".join(f"{name} {version}" for name, version in run.record()["versions"].items())
    length = f"{manifest['num_steps']:,} steps, {manifest['num_supervised']:,} supervised tokens"
    said = f"{length}; the weights are those of step {manifest['best_step']:,}"
    return "\n\n".join(["## Training", f"{said}. Made with {versions}.", "\n".join(["| setting | value |", "|---|---|", *rows])])


def _value(name: str, value: Any) -> str:
    if name == "template" and value not in TEMPLATE_NAMES:
        return "a file of its own"
    return ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, Mapping) else str(value)


def _evaluation(run: RunDirectory) -> str:
    if not run.evaluation_report_file.is_file():
        return "## Evaluation\n\nNot evaluated."
    analysis = json.loads(run.analysis_file.read_text(encoding="utf-8")) if run.analysis_file.is_file() else None
    return render_markdown(read_report(run), analysis and _without_words(analysis)).rstrip()


def _without_words(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """Groups that were found are called by words of the data ("about: invoice, refund"): here they are counted instead."""
    groups, num_found = [], 0
    for group in analysis["groups"]:
        is_found = group.get("is_found", False)  # analyses of earlier versions found none
        num_found += is_found
        groups.append({**group, "title": f"a group found among the rest ({num_found})"} if is_found else group)
    return {**analysis, "groups": groups}


def _parity(parity: Parity) -> str:
    head = f"Compared with the model as it was trained (float32, tunesmith's own engine), on {escaped(parity.prompts)}:"
    return "\n\n".join(["## Is the export the same model?", head, "\n".join(f"- {escaped(line)}" for line in parity.lines)])
