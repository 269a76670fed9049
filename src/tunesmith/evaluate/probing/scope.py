"""Does the model keep to its subject? Prompts off it are to be redirected, prompts on it answered; base and tuned model are asked.

>>> report = probe_scope(open_run(Path("runs/faq")), ScopeConfig(general=True))
>>> print("\\n".join(report.summary_lines()))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunesmith.config import GenerateConfig, ScopeConfig
from tunesmith.data.storing.prepared import PreparedData, load_data_of
from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.answering import OnProgress
from tunesmith.evaluate.probing.both import Both, ask_both
from tunesmith.evaluate.probing.questions import General, Question, Questions, from_held_out, general_questions, sampled
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.evaluate.probing.scope_report import Asked, ScopeReport, build_report, teach_command
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory
from tunesmith.tuned import OpenedModel


def probe_scope(
    run: RunDirectory,
    config: ScopeConfig,
    *,
    off_topic: Sequence[Question] = (),
    on_topic: Sequence[Question] | None = None,
    dtype: str = "auto",
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> ScopeReport:
    """Ask both models and write `probes/scope.json` in the run.

    Args:
        run: finished.
        config: what is asked beside the user's own prompts, and how.
        off_topic: the user's own, beside the held-out examples whose references decline.
        on_topic: the user's own, in place of the held-out examples that are answered; None takes those.
        dtype: compute type, as on the command line.
        device: as on the command line.
        on_progress: told the stage, how many are done and of how many.

    Raises:
        RunError: the run has not finished, was trained on raw text, or its data set has changed.
        DataError: nothing off the subject is there to ask, or the pattern takes too long.
        ConfigError: the pattern is no regular expression.
    """
    if run.manifest()["trained_on_text"]:
        expected = "a model that answers prompts"
        raise RunError(str(run.path), "it was trained on raw text", expected=expected, remedy="probe a run on questions and answers")
    data = load_data_of(run)
    recogniser = Recogniser.learn(data.train, config.pattern)
    general = general_questions(data.train) if config.general else General([], 0)
    held_out = from_held_out(data, config, recogniser)
    asked = Questions(
        sampled([*held_out.off_topic, *off_topic, *general.questions], config),
        sampled(held_out.on_topic if on_topic is None else list(on_topic), config),
    )
    _require_off_topic(asked, data, config)
    tell = on_progress or _ignore
    answers = ask_both(run, lambda opened, label: _answer(opened, label, asked, config, tell), dtype=dtype, device=device)
    report = build_report(
        _judged(asked, answers, recogniser),
        config,
        recogniser=recogniser,
        run_name=run.name,
        model_name=run.record()["model"]["name"],
        data_directory=str(data.directory),
        num_near=general.num_near,
    )
    run.probes_dir.mkdir(exist_ok=True)
    write_json(run.scope_file, report.to_json())
    return report


def _require_off_topic(asked: Questions, data: PreparedData, config: ScopeConfig) -> None:
    if asked.off_topic:
        return
    raise DataError(
        str(data.directory),
        f"no reference of the {config.split} split declines, so nothing off the subject is there to ask",
        expected="held-out examples that are redirected, or prompts of your own",
        remedy=f"give --general or --off-topic FILE; to teach redirections, `{teach_command(str(data.directory))}`",
    )


def _answer(opened: OpenedModel, label: str, asked: Questions, config: ScopeConfig, tell: OnProgress) -> list[str]:
    """The model's answers, those to prompts off the subject first."""
    generation = GenerateConfig(max_new_tokens=config.max_new_tokens, batch_size=config.batch_size)
    questions = [*asked.off_topic, *asked.on_topic]
    prompts = [opened.prompt_ids(one.messages, generation, fields=one.fields, place=one.source) for one in questions]
    report: Callable[[int], None] = lambda done: tell(f"{label}: answers", done, len(prompts))  # noqa: E731
    return [completion.text for completion in opened.complete_prompts(prompts, generation, on_progress=report)]


def _judged(asked: Questions, answers: Both[list[str]], recogniser: Recogniser) -> list[Asked]:
    questions = [("off-topic", one) for one in asked.off_topic] + [("on-topic", one) for one in asked.on_topic]
    return [
        Asked(
            side="off-topic" if side == "off-topic" else "on-topic",
            origin=question.origin,
            source=question.source,
            prompt=question.prompt,
            base=base,
            tuned=tuned,
            base_redirects=recogniser.reason(base),
            tuned_redirects=recogniser.reason(tuned),
        )
        for (side, question), base, tuned in zip(questions, answers.base, answers.tuned, strict=True)
    ]


def _ignore(*_: object) -> None:
    """Nobody is watching."""
