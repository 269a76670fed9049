"""The data set that ships with tunesmith: 450 questions about fine-tuning and about tunesmith, with answers.

    {"question": "What is a token?", "answer": "A token is the unit a model reads and writes: a common word, …"}

Fifty of the questions are off-topic and answered with a polite redirection, so that a tuned model can be seen to stay
on its subject. Written for this project; under its licence.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def builtin_data_file() -> Path:
    """The file of question/answer rows, ready for `prepare`."""
    return Path(str(resources.files("tunesmith.data") / "builtin" / "tunesmith_faq.jsonl"))
