"""One task of lm-evaluation-harness on one model, timed; what both sides of `bench/harness.py` share.

Imports nothing of tunesmith, so that the peer's side runs in an environment without it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lm_eval
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

OFFLINE = {
    "hellaswag": "group: local\ntask:\n  - task: hellaswag\n    dataset_path: {data}/hellaswag\n    training_split: null\n",
    "mmlu_anatomy": "group: local\ntask:\n  - task: mmlu_anatomy\n    dataset_path: {data}/mmlu\n",
}
"""Points a stock task at a folder; HellaSwag's holds the validation split alone."""


def timed_scores(model: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Run the task and return seconds, scores and the log-likelihood of every request, in the task's order.

    A few requests go first, so that what a side does once in a process is done.
    """
    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    warm_up = [Instance(request_type="loglikelihood", doc={}, arguments=("The quick brown", f" fox {i}"), idx=i) for i in range(4)]
    model.loglikelihood(warm_up, disable_tqdm=True)
    seconds: list[float] = []
    model.loglikelihood = _timed(model.loglikelihood, seconds)
    started = time.perf_counter()
    name, manager = _task(task)
    results = lm_eval.simple_evaluate(
        model=model, tasks=[name], task_manager=manager, num_fewshot=task["shots"], limit=task["limit"], bootstrap_iters=0
    )
    total_seconds = time.perf_counter() - started
    samples = results["samples"][task["task"]]
    scores = results["results"][task["task"]]
    return {
        "num_documents": len(samples),
        "seconds": sum(seconds),
        "total_seconds": total_seconds,
        "documents_per_second": len(samples) / sum(seconds),
        **{key.removesuffix(",none"): value for key, value in scores.items() if key in {"acc,none", "acc_norm,none"}},
        "log_likelihoods": [answer[0][0] for sample in samples for answer in sample["resps"]],
        "versions": {"lm_eval": lm_eval.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
    }


def _task(task: Mapping[str, Any]) -> tuple[str, TaskManager]:
    if task["data"] is None:
        return task["task"], TaskManager()
    folder = Path(task["output_dir"]) / "tasks"
    folder.mkdir()
    (folder / "local.yaml").write_text(OFFLINE[task["task"]].format(data=task["data"]), encoding="utf-8")
    return "local", TaskManager(include_path=str(folder))


def _timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def measured(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        answer = function(*arguments, **options)
        seconds.append(time.perf_counter() - started)
        return answer

    return measured
