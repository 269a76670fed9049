"""What a prompt template left in the text: headings, chat markers, speakers' names, places nobody filled in.

    >>> fix("### Question:\\nHow do I export?\\n\\n### Answer:")
    'How do I export?'
    >>> fix("<|im_start|>user\\nHi?<|im_end|>")
    'Hi?'

A marker that a sentence speaks of (`<|im_end|> ends a turn`) is no residue: markers count where a template would put them. `fix`
takes away what wraps a text. A transcript of several turns in one text is flagged and left alone: cutting it apart needs somebody
who knows where it came from.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt, texts_of
from tunesmith.types import Example

_ASKING = "instruction|question|human|user|system(?: prompt)?|prompt"
_GIVEN = "input|context"
_ANSWERING = "answer|response|output|assistant|completion"
_ANYWHERE = "instruction|question|human|user|input|answer|response|assistant|system"
"""Of these, those that no author of an article would choose for a heading with a colon."""
_HEAD = r"[ \t]*#{{2,3}}[ \t]*(?:{names})[ \t]*"
_ANY_HEAD = _HEAD.format(names=f"{_ASKING}|{_GIVEN}|{_ANSWERING}")

HEADING = re.compile(
    rf"^{_HEAD.format(names=_ANYWHERE)}:|\A\s*{_ANY_HEAD}:|^{_ANY_HEAD}:\s*\Z"
    r"|\A\s*###[ \t]*(?:instruction|question|human)[ \t]*$|^###[ \t]*(?:answer|response|assistant)[ \t]*\Z",
    re.IGNORECASE | re.MULTILINE,
)
"""`### Question:`, as in Alpaca's template and its relatives; without the colon only where the text begins or ends."""
_GIVEN_HEADING = re.compile(rf"\s*^{_HEAD.format(names=_GIVEN)}:[ \t]*\n?", re.IGNORECASE | re.MULTILINE)

_PREAMBLE = (
    r"(?:Below is an instruction that describes a task(?:, paired with an input that provides further context)?\. ?\s*"
    r"Write a response that appropriately completes the request\."
    r"|A chat between a curious (?:user|human) and an artificial intelligence assistant\. ?\s*"
    r"The assistant gives helpful, detailed, and polite answers to the (?:user|human)'s questions\.)"
)
"""The first sentences of the templates of Alpaca (Taori et al. 2023) and Vicuna (Chiang et al. 2023)."""

_ROLE = r"(?:system|user|assistant|human|model|tool)"
_TURN = (
    rf"(?:<\|im_start\|>{_ROLE}?[ \t]*\n|<\|start_header_id\|>\s*{_ROLE}\s*<\|end_header_id\|>\s*|<start_of_turn>{_ROLE}?[ \t]*\n"
    rf"|<\|{_ROLE}\|>[ \t]*\n|<｜(?:User|Assistant)｜>)"
)
"""A marker that opens a turn: ChatML, Llama 3, Gemma, Zephyr and Phi, DeepSeek."""
_BEGIN = r"(?:<s>(?![ \t]*\w+[ \t]*</s>)|<bos>|<\|begin_of_text\|>|<\|endoftext\|>|<｜begin▁of▁sentence｜>)"
_END = (
    r"(?:</s>|<eos>|<\|im_end\|>|<\|endoftext\|>|<\|end_of_text\|>|<\|eot_id\|>|<\|eom_id\|>|<\|end\|>|<end_of_turn>|<｜end▁of▁sentence｜>)"
)
_GLUED = r"(?:(?<=[^\s`\"'(\[])|(?<=\n)|(?<=[.!?] ))"
"""After a word without a space, a new line or the end of a sentence: where a template ends a turn and a sentence speaks of none."""

MARKER = re.compile(
    rf"{_TURN}|\A\s*{_BEGIN}|{_GLUED}{_END}(?=\s*(?:\Z|<|\[))|\A\s*(?:{_BEGIN}\s*)?\[INST\]|\[/INST\](?=\s*\Z)|<<SYS>>\s*\n"
    rf"|\[/INST\](?=[^\[]*</s>)"
)

SPEAKER = re.compile(
    r"\A\s*(?:\*\*)?(?:Human|Assistant|USER|ASSISTANT)(?:\*\*)?:(?:\*\*)?\s|^(?:Assistant|ASSISTANT|AI|Bot):[ \t]*\Z", re.MULTILINE
)
"""`Human:` where a text begins, `Assistant:` where it ends."""
NEXT_TURN = re.compile(r"^(?:Human|USER):[ \t]*\S", re.MULTILINE)
"""Within an answer: whoever wrote the transcript went on to the next turn."""

_FIELDS = "question|answer|instruction|input|output|prompt|response|completion|context|system_prompt|user_input|query|user_message"
UNFILLED = re.compile(rf"(?<![{{$\w\\\"'%])\{{(?:{_FIELDS})\}}(?![}}\w\"'])|(?<!\$)\{{\{{\s*[A-Za-z_][\w.-]{{0,40}}\s*\}}\}}")
"""`{question}`, `{{name}}`: a place of a template with nothing filled in."""
_CODE = re.compile(r"```|\bdef \w+\(|\bprint\(|\.format\(|\bf[\"']|</?\w+[^>]*>|\{%|\bimport \w+|\bconst \w+|=> *\{|`[^`\n]*\{")
"""Where this stands, braces may be program text."""

_WRAP_BEFORE = re.compile(
    rf"\A\s*(?:{_PREAMBLE}|{_TURN}|{_BEGIN}|\[INST\]|{_ANY_HEAD}(?::|(?=\n))|(?:Human|USER|User|Assistant|ASSISTANT):(?=\s))\s*",
    re.IGNORECASE,
)
_WRAP_AFTER = re.compile(
    rf"\s*(?:{_END}|\[/INST\]|^{_ANY_HEAD}:?|^(?:Assistant|ASSISTANT|AI|Bot):|{_TURN})\s*\Z", re.IGNORECASE | re.MULTILINE
)
_WHOLE = re.compile(
    rf"\A(?:{_PREAMBLE}\s*)?{_HEAD.format(names=_ASKING)}:?\n(.*?)\n\n{_HEAD.format(names=_ANSWERING)}:?\s*\Z", re.IGNORECASE | re.DOTALL
)
"""A prompt in its template, headings on lines of their own: what stands between them is the prompt to the letter, if only spaces."""
_INNER = re.compile(rf"{_ANY_HEAD}:|<<SYS>>|\[INST\]|{_TURN}", re.IGNORECASE)

UNFILLED_KIND, ANOTHER_TURN = "with unfilled places", "with another turn in the answer"
"""What no fix can put right."""

MOST_WRAPPINGS = 12
"""Markers and headings on one side of a text; the templates that there are have five."""
LONGEST_WRAPPING = 100
"""Characters of one at the end, about."""


class Residue(NamedTuple):
    """One place in a text."""

    kind: str
    start: int
    end: int


def template_residue(context: CheckContext) -> EachExample:
    """Text that a template was already applied to, or whose places were left unfilled."""
    sentence = "{how_many} hold{s} what a template left behind"
    beyond = frozenset({UNFILLED_KIND, ANOTHER_TURN})
    return EachExample(
        Rule(name="template-residue", spot=spot, sentence=sentence, severity="problem", can_fix=True, beyond_repair=beyond), context
    )


def spot(example: Example) -> Spot | None:
    """The first residue in any text of the example."""
    for text in texts_of(example):
        found = find(text)
        if found:
            return Spot(found.kind, excerpt(text, found.start, found.end))
    answer = example.reference
    if example.messages and ("Human:" in answer or "USER:" in answer) and (match := NEXT_TURN.search(answer)):
        return Spot(ANOTHER_TURN, excerpt(answer, *match.span()))
    return None


def find(text: str) -> Residue | None:
    """The first residue of `text`; what is quick to rule out is ruled out first."""
    if "##" in text and (match := HEADING.search(text)):
        return Residue("with template headings", *match.span())
    if ("<" in text or "INST]" in text) and (match := MARKER.search(text)):
        return Residue("with chat markers", *match.span())
    if ":" in text and (match := SPEAKER.search(text)):
        return Residue("with speakers' names", *match.span())
    if "{" in text and not _CODE.search(text) and (match := UNFILLED.search(text)):
        return Residue(UNFILLED_KIND, *match.span())
    if text.startswith(("Below is an instr", "A chat between a")) and (match := re.match(_PREAMBLE, text)):
        return Residue("with a template's first sentence", *match.span())
    return None


def fix(text: str) -> str:
    """`text` without what wraps it; as it is where nothing does, or where it holds an answer or another turn as well.

    The heading before an input (`### Input:`) becomes the blank line that joins an instruction and its input here.
    """
    if find(text) is None:
        return text
    whole = _WHOLE.match(text)
    inside = whole.group(1) if whole else _strip(text)
    if "##" in inside:
        inside = _GIVEN_HEADING.sub("\n\n", inside, count=1).strip()
    # Nothing left of an answer is no repair; of a prompt in its template there may be nothing.
    return text if _INNER.search(inside) or not (inside or whole) else inside


def _strip(text: str) -> str:
    """Wrapping after wrapping, from both sides."""
    for _ in range(MOST_WRAPPINGS):
        before = _WRAP_BEFORE.match(text)
        text = text[before.end() :] if before else text
        after = _WRAP_AFTER.search(text, max(0, len(text.rstrip()) - LONGEST_WRAPPING))
        text = text[: after.start()].rstrip() if after else text
        if not before and not after:
            break
    return text
