"""From a chat template in Jinja to Ollama's in Go: found by what it renders, and kept only where it is shown to be the same.

What stands around a user's, an assistant's and a system message is read off a few renderings with markers for contents. From that a Go
template is written, and both are given conversations of all shapes. A template that does anything else with its messages (Qwen 3's
thoughts, a system message repeated in each turn) does not come out the same and is refused with the conversation that shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunesmith.errors import ConfigError
from tunesmith.export.ollama.go_template import render_go
from tunesmith.types import Message

RenderJinja = Callable[[Sequence[Message], bool], str]
"""A conversation, and whether an answer is asked for -> text; raises ConfigError where the template refuses it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OllamaTemplate:
    """What a Modelfile says about prompts."""

    template: str
    """In Go."""
    system: str | None = None
    """Ollama puts this system message where a conversation has none."""
    limits: tuple[str, ...] = ()
    """In sentences: conversations that come out otherwise, or not at all."""

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's text as Ollama makes it (server/routes.go adds the system message, template.go joins several)."""
        turns = list(messages)
        if self.system is not None and turns[0].role != "system":
            turns.insert(0, Message(role="system", content=self.system))
        joined: list[dict[str, str]] = []
        for turn in turns:
            if joined and joined[-1]["Role"] == turn.role:
                joined[-1]["Content"] += "\n\n" + turn.content
            else:
                joined.append({"Role": turn.role, "Content": turn.content})
        system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
        return render_go(self.template, {"Messages": joined, "System": system, "Response": ""})


PLAIN = OllamaTemplate(template="{{ range .Messages }}{{ .Content }}{{ end }}", limits=("it goes on with one text; there are no turns",))
"""For models of raw text."""


def ollama_template(render: RenderJinja, bos: str | None) -> OllamaTemplate:
    """Find the Go template that renders as `render` does.

    Args:
        render: the exported chat template.
        bos: text of the token that llama.cpp puts before every prompt; taken off the template's own. None where it puts none.

    Raises:
        ConfigError: there is none of our shapes that does; says why.
    """

    def plain(messages: Sequence[Message], asks: bool) -> str:
        text = render(messages, asks)
        return text.removeprefix(bos) if bos else text

    made = _Parts.read(plain).written()
    limits = []
    for name, conversations in _SHAPES.items():
        problem = _first_difference(made, plain, conversations)
        if problem and name == "one question":
            raise _inexpressible(problem)
        if problem:
            limits.append(f"{name}: {problem}")
    return OllamaTemplate(template=made.template, system=made.system, limits=tuple(limits))


def _conversation(*turns: str) -> tuple[Message, ...]:
    """Contents of user and assistant by turns; a first one that begins with `S:` is the system's."""
    messages = []
    if turns[0].startswith("S:"):
        messages.append(Message(role="system", content=turns[0][2:]))
        turns = turns[1:]
    messages += [Message(role="user" if i % 2 == 0 else "assistant", content=text) for i, text in enumerate(turns)]
    return tuple(messages)


_SHAPES = {
    "one question": [
        _conversation("Why?"),
        _conversation('Two lines\nof a question {{ .System }} with "marks" and \\ signs'),
        _conversation("é 日本"),
    ],
    "white space around a message": [_conversation(" Why? \n")],
    "a system message": [_conversation("S:Be brief.", "Why?"), _conversation("S:Be\nbrief.", "What is it?")],
    "several turns": [_conversation("Why?", "Because.", "And then?"), _conversation("a", "b", "c", "d", "e")],
    "a system message and several turns": [_conversation("S:Be brief.", "Why?", "Because.", "And then?")],
}
"""What both templates are given, by what it shows. The first must be equal; what else is not, is said."""


def _first_difference(made: OllamaTemplate, plain: RenderJinja, conversations: Sequence[Sequence[Message]]) -> str | None:
    for messages in conversations:
        try:
            expected = plain(messages, True)
        except ConfigError as error:
            return f"the model's template takes none ({error.found})"
        found = made.render(messages)
        if found != expected:
            return f"Ollama renders {_excerpt(found, expected)} where ours has {_excerpt(expected, found)}"
    return None


def _excerpt(text: str, other: str) -> str:
    """What stands where two texts part."""
    place = next((i for i, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), min(len(text), len(other)))
    return repr(text[max(0, place - 12) : place + 24])


def _inexpressible(found: str) -> ConfigError:
    return ConfigError(
        "export --to ollama",
        f"the template cannot be written for Ollama ({found})",
        expected="fixed text around each message",
        remedy="export --to gguf, whose file holds the template as it is",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """Text around messages."""

    head: str
    head_with_system: str
    system: tuple[str, str]
    user: tuple[str, str]
    user_after_system: str
    """Before the first user message where a system message came before it."""
    assistant: tuple[str, str]
    generation: str
    default_system: str | None

    @classmethod
    def read(cls, plain: RenderJinja) -> _Parts:
        """Off renderings whose contents are markers."""
        asked, waiting = plain(_conversation(_ONE), True), plain(_conversation(_ONE), False)
        if not asked.startswith(waiting):
            raise _inexpressible("what asks for an answer does not stand at the end")
        before, user_end = _cut(waiting, _ONE)
        to_answer, from_answer, user_start = _turns(plain, before, user_end)
        opening, closing = _around_system(plain, before)
        default = None
        if closing and len(before) >= len(opening) + len(closing) and before.startswith(opening) and before.endswith(closing):
            default = before[len(opening) : len(before) - len(closing)]
        head = before.removesuffix(user_start) if default is None else ""
        goes_on = closing.endswith(user_start)
        shared = opening.startswith(head)
        return cls(
            head=head,
            head_with_system=head if shared else "",
            system=(opening.removeprefix(head) if shared else opening, closing.removesuffix(user_start) if goes_on else closing),
            user=(user_start, user_end),
            user_after_system=user_start if goes_on else "",
            assistant=(to_answer.removeprefix(user_end), from_answer.removesuffix(user_start)),
            generation=asked[len(waiting) :],
            default_system=default,
        )

    def written(self) -> OllamaTemplate:
        start, end = _go(self.user[0]), _go(self.user[1])
        if self.user_after_system != self.user[0]:
            start = "{{ if and (eq $i 1) $.System }}" + _go(self.user_after_system) + "{{ else }}" + start + "{{ end }}"
        head = _go(self.head)
        if self.head_with_system != self.head:
            head = "{{ if not .System }}" + head + "{{ end }}"
        system = _go(self.system[0]) + "{{ .Content }}" + _go(self.system[1]) if any(self.system) else ""
        body = (
            f'{head}{{{{ range $i, $_ := .Messages }}}}{{{{ if eq .Role "system" }}}}{system}'
            f'{{{{ else if eq .Role "user" }}}}{start}{{{{ .Content }}}}{end}'
            f"{{{{ else }}}}{_go(self.assistant[0])}{{{{ .Content }}}}{_go(self.assistant[1])}{{{{ end }}}}{{{{ end }}}}"
        )
        return OllamaTemplate(template=body + _go(self.generation), system=self.default_system)


def _turns(plain: RenderJinja, before: str, user_end: str) -> tuple[str, str, str]:
    """What stands from a question to its answer, from that to the next question, and what begins a question."""
    try:
        _, rest = _cut(plain(_conversation(_ONE, _TWO, _THREE), True), _ONE)
        to_answer, rest = _cut(rest, _TWO)
        from_answer, _ = _cut(rest, _THREE)
        _, answer_end = _cut(plain(_conversation(_ONE, _TWO), False), _TWO)
    except ConfigError:
        return user_end, before, before  # it takes one question only
    start = from_answer.removeprefix(answer_end)
    if not before.endswith(start):
        start = _shared_end(before, from_answer)
    return to_answer, from_answer, start


def _around_system(plain: RenderJinja, before: str) -> tuple[str, str]:
    """What stands before a system message, and between it and the first question; nothing where the template takes or shows none."""
    try:
        opening, rest = _cut(plain(_conversation("S:" + _RULES, _ONE), True), _RULES)
        closing, _ = _cut(rest, _ONE)
    except ConfigError:
        return before, ""
    return opening, closing


_ONE, _TWO, _THREE, _RULES = "\ue000", "\ue001", "\ue002", "\ue003"
"""Contents that no template has: private-use characters."""


def _cut(text: str, marker: str) -> tuple[str, str]:
    """What stands before and after a content that is there once.

    Raises:
        ConfigError: it is there not once.
    """
    before, found, after = text.partition(marker)
    if not found or marker in after:
        raise _inexpressible("it leaves out a message, or repeats it")
    return before, after


def _shared_end(one: str, other: str) -> str:
    """The longest text that both end with."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    length = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return one[len(one) - length :]


def _go(text: str) -> str:
    """Text of the template; what Go would take for an action stands in quotes."""
    return text.replace("{{", '{{ "{{" }}')
