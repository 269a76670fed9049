"""The layouts of columns that are recognised, and how they are said in words.

>>> str(PAIRS[0])
'prompt -> prompt, chosen -> better answer, rejected -> worse answer (prompt/chosen/rejected)'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["prompt-completion", "messages", "sharegpt", "two conversations", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The columns of one source and their parts. Either `prompt` and `completion` are set, or `content`."""

    kind: Kind
    name: str
    """`question/answer`, `Alpaca`, …, or `as named`."""
    prompt: str | None = None
    completion: str | None = None
    """The right answer; of preference pairs the better one."""
    input: str | None = None
    """What follows the prompt, when there is such a column."""
    content: str | None = None
    """The column with the whole conversation or the raw text; of two conversations the one with the better answer."""
    rejected: str | None = None
    """The worse answer of a preference pair; of two conversations the one that ends with it."""
    label: str | None = None
    """Whether the answer is desirable."""
    unused: tuple[str, ...] = ()
    """Columns that play no part."""
    note: str = ""
    """What people should know about this reading; empty when nothing."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are used, prompt first."""
        parts = (self.prompt, self.input, self.completion, self.content, self.rejected, self.label)
        return tuple(column for column in parts if column is not None)

    @property
    def necessary(self) -> tuple[str, ...]:
        """Those that a row cannot lack."""
        return tuple(column for column in self.columns if column != self.input)

    def __str__(self) -> str:
        """In words, as the screen and the report say it."""
        if self.kind == "text":
            return f"{self.content} -> raw text, every token supervised"
        if self.kind == "two conversations":
            return f"{self.content} -> conversation with the better answer, {self.rejected} -> with the worse one ({self.name})"
        label = "" if self.label is None else f", {self.label} -> desirable or not"
        if self.content is not None:
            return f"{self.content} -> conversation{label} ({self.name})"
        prompt = self.prompt if self.input is None else f"{self.prompt} + {self.input}"
        if self.rejected is not None:
            return f"{prompt} -> prompt, {self.completion} -> better answer, {self.rejected} -> worse answer ({self.name})"
        return f"{prompt} -> prompt, {self.completion} -> completion{label} ({self.name})"


KNOWN = (
    Layout(kind="prompt-completion", name="question/answer", prompt="question", completion="answer"),
    Layout(kind="prompt-completion", name="instruction/response", prompt="instruction", completion="response"),
    Layout(kind="prompt-completion", name="Alpaca", prompt="instruction", input="input", completion="output"),
    Layout(kind="prompt-completion", name="Alpaca without input", prompt="instruction", completion="output"),
    Layout(kind="prompt-completion", name="input/output", prompt="input", completion="output"),
    Layout(kind="prompt-completion", name="prompt/completion", prompt="prompt", completion="completion"),
    Layout(kind="prompt-completion", name="support tickets", prompt="ticket", completion="reply"),
    Layout(kind="prompt-completion", name="query/response", prompt="query", completion="response"),
    Layout(kind="messages", name="OpenAI messages", content="messages"),
    Layout(kind="sharegpt", name="ShareGPT", content="conversations"),
    Layout(kind="text", name="raw text", content="text"),
)
"""In the order in which errors list them. Each but raw text may have a `label` beside it (KTO)."""

CLASSES = "classification"
"""The name of the layout whose prompts are `text` and whose completions are classes."""

CHOSEN, REJECTED, LABEL = "chosen", "rejected", "label"

PAIRS = (
    Layout(kind="prompt-completion", name="prompt/chosen/rejected", prompt="prompt", completion=CHOSEN, rejected=REJECTED),
    Layout(kind="prompt-completion", name="question/chosen/rejected", prompt="question", completion=CHOSEN, rejected=REJECTED),
    Layout(
        kind="prompt-completion", name="Alpaca preference pairs", prompt="instruction", input="input", completion=CHOSEN, rejected=REJECTED
    ),
    Layout(
        kind="prompt-completion",
        name="Alpaca preference pairs without input",
        prompt="instruction",
        completion=CHOSEN,
        rejected=REJECTED,
    ),
    Layout(kind="prompt-completion", name="input/chosen/rejected", prompt="input", completion=CHOSEN, rejected=REJECTED),
    Layout(kind="two conversations", name="chosen/rejected", content=CHOSEN, rejected=REJECTED),
)
"""What a file with the columns `chosen` and `rejected` is read as; a right answer of another column is then left aside."""
