"""The whole: from evaluated runs and a judge to a judgement in the first of the runs.

>>> judgement = judge_runs([open_run(Path("runs/faq"))], JudgeConfig(endpoint="http://localhost:11434/v1", endpoint_model="qwen3:32b"))
>>> print("\\n".join(judgement["lines"]))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from tunesmith.chat.budget import Budget, Prices
from tunesmith.chat.ledger import Ledger
from tunesmith.chat.models import ChatModel, choose_chat_model
from tunesmith.config import JudgeConfig
from tunesmith.errors import RunError
from tunesmith.evaluate.judging.asking import Asker, OnReply
from tunesmith.evaluate.judging.contests import Contest, read_contest
from tunesmith.evaluate.judging.judgement import document_of, write_judgement
from tunesmith.evaluate.judging.pairwise import judge_pairs, votes_of
from tunesmith.evaluate.judging.pointwise import judge_scores
from tunesmith.evaluate.judging.prompts import PROMPT_VERSION
from tunesmith.evaluate.judging.rubric import Rubric, read_rubric
from tunesmith.evaluate.judging.summary import summarise_pairs, summarise_scores
from tunesmith.evaluate.run_page import refresh_pages
from tunesmith.evaluate.votes import Vote, read_votes, time_now
from tunesmith.files import file_sha256
from tunesmith.runs import RunDirectory

Say = Callable[[str], None]


class _Judged(NamedTuple):
    document: dict[str, Any]
    votes: list[Vote]


def judge_runs(
    runs: Sequence[RunDirectory], config: JudgeConfig, *, say: Say | None = None, on_reply: OnReply | None = None
) -> dict[str, Any]:
    """Have the answers of evaluated runs judged; the judgement is written into the first run and returned.

    Interrupted, stopped by its budget or by the endpoint, the same call goes on later: no verdict is paid for twice.

    Args:
        runs: one, whose base and tuned model are compared, or several, whose tuned models are.
        config: the judge, the rubric, and how much it may cost.
        say: told what a person should know.
        on_reply: called after every reply.

    Raises:
        ConfigError: no judge, or a rubric that is none.
        RunError: a run was not evaluated, or on other examples than the first; or another process judges it.
        DataError: there is nothing to judge, or the votes cannot be read.
        AssetError: the judge refuses or does not answer; what it answered is kept.
    """
    tell = say or (lambda text: None)
    rubric = read_rubric(config.rubric)
    contest = read_contest(runs, limit=config.limit, seed=config.seed)
    judge = choose_chat_model(config, tell)
    votes = _people_votes(runs, config, tell)
    lock = FileLock(runs[0].evaluation_dir / ".judging.lock", timeout=0)
    try:
        with lock:
            judged = _judge(runs[0], contest, rubric, judge, config, votes, on_reply or (lambda tally, budget: None))
            write_judgement(runs[0], judged.document, judged.votes)
            refresh_pages(runs[0])
    except Timeout:
        raise RunError(str(runs[0].path), "another process judges it", expected="one at a time", remedy="wait for it, or end it") from None
    return judged.document


def _people_votes(runs: Sequence[RunDirectory], config: JudgeConfig, say: Say) -> list[Vote]:
    """Of the file that is given, else of the runs."""
    if config.votes is not None:
        return read_votes([Path(config.votes)], say=say)
    return read_votes([run.votes_file for run in runs if run.votes_file.is_file()], say=say)


def _judge(
    run: RunDirectory,
    contest: Contest,
    rubric: Rubric,
    judge: ChatModel,
    config: JudgeConfig,
    people_votes: Sequence[Vote],
    on_reply: OnReply,
) -> _Judged:
    work = _work_of(contest, rubric, judge, config)
    run.judge_calls_dir.mkdir(exist_ok=True)
    with Ledger(run.judge_calls_dir / f"{work}.jsonl", judge.name) as ledger:
        budget = _budget(config)
        budget.count(ledger.spent_before)
        asker = Asker(judge=judge, config=config, ledger=ledger, budget=budget, on_reply=on_reply)
        name = config.endpoint_model or str(config.endpoint)
        about = {
            "work": work,
            "judge": judge.name,
            "rater": f"{name} (rubric {rubric.fingerprint})",
            "models": list(contest.models),
            "contest": contest.fingerprint,
            "num_examples": len(contest.items),
            "prompt_version": PROMPT_VERSION,
            "records": file_sha256(run.evaluation_records_file),
        }
        if config.mode == "pointwise":
            return _of_scores(contest, rubric, asker, about)
        return _of_pairs(contest, rubric, asker, about, people_votes)


def _of_pairs(contest: Contest, rubric: Rubric, asker: Asker, about: dict[str, Any], people_votes: Sequence[Vote]) -> _Judged:
    results = judge_pairs(contest, rubric, asker)
    summaries = summarise_pairs(results, people_votes, asker.config)
    examples = [result.to_json() for result in results]
    asked = asker.tally.report(asker.budget)
    document = document_of(summaries, examples, about=about, asked=asked, rubric=rubric, config=asker.config)
    return _Judged(document, list(votes_of(results, rater=about["rater"], time=time_now())))


def _of_scores(contest: Contest, rubric: Rubric, asker: Asker, about: dict[str, Any]) -> _Judged:
    results = judge_scores(contest, rubric, asker)
    summaries = summarise_scores(results, contest.pairs, asker.config)
    examples = [result.to_json() for result in results]
    asked = asker.tally.report(asker.budget)
    return _Judged(document_of(summaries, examples, about=about, asked=asked, rubric=rubric, config=asker.config), [])


def _work_of(contest: Contest, rubric: Rubric, judge: ChatModel, config: JudgeConfig) -> str:
    """Names the ledger: the same judge, question and models; more examples or a larger budget go on in it."""
    what = [judge.name, config.mode, rubric.fingerprint, PROMPT_VERSION, config.hide_reference, contest.models]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _budget(config: JudgeConfig) -> Budget:
    prices = Prices(prompt=config.price_prompt, completion=config.price_completion)
    return Budget(max_tokens=config.budget_tokens, max_cost=config.budget_cost, prices=prices, tokens_per_reply=config.max_new_tokens)
