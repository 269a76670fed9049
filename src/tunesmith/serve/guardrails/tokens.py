"""How many tokens a text has for a run's model, without loading the model.

>>> token_counter(open_run(Path("runs/faq")))("How do I pay?")
5
"""

from __future__ import annotations

from tunesmith.runs import RunDirectory
from tunesmith.serve.guardrails.length import CountTokens
from tunesmith.tuned import run_tokenizer, stored_renderer


def token_counter(run: RunDirectory) -> CountTokens:
    """By the run's own tokenizer, made when it is first asked.

    Raises, when asked:
        RunError: template or tokenizer give other tokens than in training.
    """
    counters: list[CountTokens] = []

    def count(text: str) -> int:
        if not counters:
            renderer = stored_renderer(run, run_tokenizer(run))
            counters.append(lambda words: len(renderer.text_prompt_ids(words)))
        return counters[0](text)

    return count
