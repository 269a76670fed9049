"""Questions and answers from documents, each answer with the passage it rests on.

A teacher is asked to quote; the quotation has to stand in the passage, and every number of the answer too. With `--verify` it is
asked once more whether the passage says what the answer says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tunesmith.chat.calls import Call
from tunesmith.config import SynthesizeConfig
from tunesmith.synthesize.candidates import Candidate
from tunesmith.synthesize.recipes.recipe import in_rounds, questions_and_answers, request
from tunesmith.types import Row

FEWEST_CHARACTERS = 200
"""A shorter passage holds a heading, not facts."""
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
INSTRUCTIONS = """\
Below is a passage of a document. Write {count} questions that a reader of the document might ask and that the passage answers, each
with its answer.

- A question must be understood without seeing the passage: name the thing it is about{subject}, never say "the passage" or "the text".
- An answer is complete, correct and friendly in tone, and says nothing that the passage does not say.
- "quote" is the part of the passage, copied word for word, that the answer rests on.

Reply with nothing but a JSON list: [{{"question": "…", "answer": "…", "quote": "…"}}]"""

VERIFY = """\
Does the passage below say everything that the answer to the question says? Reply with one word, yes or no."""


class Documents:
    """Passages one after another."""

    name = "documents"

    def __init__(self, passages: Sequence[Row], config: SynthesizeConfig) -> None:
        self._passages = [row for row in passages if len(str(row.values["text"])) >= FEWEST_CHARACTERS]
        self._config = config

    @property
    def num_passages(self) -> int:
        """Those long enough to ask about."""
        return len(self._passages)

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        del kept
        return in_rounds(self._calls())

    def _calls(self) -> Iterator[Call]:
        for row in self._passages:
            text, title = str(row.values["text"]), str(row.values.get("title") or "")
            subject = f" (the document's section is called {title!r})" if title else ""
            instructions = INSTRUCTIONS.format(count=self._config.per_item, subject=subject)
            yield Call(key=f"documents {row.source}", messages=request(instructions, text), context=text)

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        source = call.key.removeprefix("documents ")
        return questions_and_answers(reply, {"source": source, "passage": call.context}, "quote")

    def fault(self, candidate: Candidate) -> str | None:
        passage, quote = _even(candidate.origin["passage"]), _even(candidate.origin["quote"])
        if quote not in passage:
            return "its quotation is not in the passage"
        missing = [number for number in NUMBER.findall(candidate.completion) if number not in passage]
        return f"the number {missing[0]} is not in the passage" if missing else None

    def verification(self, candidate: Candidate) -> Call:
        """The question whether the passage says it."""
        parts = (candidate.origin["passage"], f"Question: {candidate.prompt}\nAnswer: {candidate.completion}")
        return Call(key=f"verify {candidate.origin['source']} {candidate.prompt}", messages=request(VERIFY, *parts))


def _even(text: str) -> str:
    """Spacing, case and typographic quotation marks evened out."""
    return " ".join(text.translate(str.maketrans("’‘“”", "''\"\"")).casefold().split())
