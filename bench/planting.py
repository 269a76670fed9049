"""Known faults of every kind at known rows of clean examples, chosen by a seed: what the checks have to find, and nothing else.

planted = plant(examples, seed=1, per_kind=20)
planted.examples                      # most of them as they were
planted.rows["mojibake"]              # positions in them
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tunesmith.data.checks.pii import IBAN_LENGTHS
from tunesmith.data.converting.examples import build_example
from tunesmith.types import Example, Message

LIMIT_WORDS = 400
"""Answers planted as too long have more words."""

Fault = Callable[[random.Random, str, str], tuple[str, str]]
"""Prompt and answer -> the same with a fault in one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """Examples with faults in them."""

    examples: tuple[Example, ...]
    rows: Mapping[str, frozenset[int]]
    """Positions of the faults by the name of the check that has to find them; of pairs, of both."""
    added: Mapping[str, frozenset[int]]
    """Those of `rows` that are examples of their own, behind the others."""
    held: frozenset[int]
    """Positions that are held out: those with a leak, and as many without one."""


def empty(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    return prompt, chance.choice(["", " ", "\n\n", ".", "<p></p>", "<br/>", "\u200b", '""', "&nbsp;"])


def placeholder(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    whole = ["TODO", "N/A", "tbd", "...", "…", "null", "[insert answer here]", "Answer goes here.", "Coming soon!", "xxx", "<answer>"]
    within = ["TODO: ask the team. ", "[insert the name of the product] does that. ", "Lorem ipsum dolor sit amet, consectetur. ", "TBD. "]
    return prompt, chance.choice(whole) if chance.random() < 0.6 else chance.choice(within) + answer


def repeated(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    return prompt, chance.choice([prompt, prompt.upper(), f"{prompt} {answer}", f"{prompt}\n\n{answer}"])


def mojibake(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    remark = chance.choice(
        [
            "It’s a café’s naïve résumé – really. ",
            "Das heißt „Größe“ auf Österreichisch. ",
            "Voilà, déjà vu à la carte… ",
            "El niño comió jalapeños. ",
        ]
    )
    wrong = remark.encode("utf-8").decode(chance.choice(["cp1252", "latin-1"]), errors="ignore")
    return (f"{wrong}{prompt}", answer) if chance.random() < 0.3 else (prompt, wrong + answer)


def control(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    place = chance.randrange(1, len(answer))
    return prompt, answer[:place] + chance.choice("\x00\x07\x08\x1b\x7f\u200b\ufeff\u00ad\u2060\u202e\u200d") + answer[place:]


def residue(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    prompts = (
        "### Question:\n{}\n\n### Answer:",
        "### Instruction:\n{}\n\n### Response:\n",
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{}\n\n### Response:",
        "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        "<s>[INST] {} [/INST]",
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        "<start_of_turn>user\n{}<end_of_turn>\n",
        "Human: {}\n\nAssistant:",
        "USER: {}\nASSISTANT:",
    )
    answers = (
        "{}<|im_end|>",
        "{}</s>",
        "{}<|endoftext|>",
        "### Response:\n{}",
        "Assistant: {}",
        "{}\n\nHuman: And then?",
        "Dear {{{{name}}}}, {}",
        "{{question}} {}",
    )
    if chance.random() < 0.6:
        return chance.choice(prompts).format(prompt), answer
    return prompt, chance.choice(answers).format(answer)


def personal(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    datum = chance.choice([_email, _phone, _card, _iban, _address, _secret])(chance)
    line = chance.choice(["Ask {} about it. ", "The contact is {}. ", "Call {} for more. ", "({}) "]).format(datum)
    return (f"{line}{prompt}", answer) if chance.random() < 0.3 else (prompt, line + answer)


def _digits(chance: random.Random, number: int) -> str:
    return "".join(chance.choices(string.digits, k=number))


def _email(chance: random.Random) -> str:
    first, last = (
        chance.choice(["ann", "r.patel", "joe_w", "maria-luisa", "k.o+news"]),
        chance.choice(["acme.com", "mail.firm.co.uk", "uni-ulm.de", "example.org"]),
    )
    return f"{first}{chance.randrange(100)}@{last}"


def _phone(chance: random.Random) -> str:
    forms = [
        "+1 (415) 555-{:04}",
        "(212) 555-{:04}",
        "415-555-{:04}",
        "+44 20 7946 {:04}",
        "+49 89 123{:04}",
        "+33 1 42 68 {:04}",
        "+91 98765 4{:04}",
    ]
    return chance.choice(forms).format(chance.randrange(10_000))


def _card(chance: random.Random) -> str:
    body = chance.choice(["4", "51", "37", "6011"])
    body += _digits(chance, (14 if body == "37" else 15) - len(body))
    total = sum(int(digit) if place % 2 else sum(map(int, str(2 * int(digit)))) for place, digit in enumerate(reversed(body)))
    number = body + str(-total % 10)
    return chance.choice([number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))])


def _iban(chance: random.Random) -> str:
    country = chance.choice(["DE", "FR", "ES", "AT", "BE"])
    account = _digits(chance, IBAN_LENGTHS[country] - 4)
    check = 98 - int("".join(str(int(one, 36)) for one in f"{account}{country}00")) % 97
    number = f"{country}{check:02}{account}"
    return chance.choice([number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))])


def _address(chance: random.Random) -> str:
    return chance.choice([f"81.2.{chance.randrange(256)}.{chance.randrange(1, 255)}", f"2a00:1450:4001:82a::{chance.randrange(1, 9999)}"])


def _secret(chance: random.Random) -> str:
    def signs(number: int, alphabet: str = string.ascii_letters + string.digits) -> str:
        return "".join(chance.choices(alphabet, k=number - 2)) + "4q"

    upper = string.ascii_uppercase + string.digits
    key = f"-----BEGIN PRIVATE KEY-----\n{signs(64)}\n-----END PRIVATE KEY-----"
    token = f"eyJ{signs(20)}.eyJ{signs(40)}.{signs(43)}"
    slack = f"xoxb-{_digits(chance, 12)}-{signs(24)}"
    return chance.choice([f"AKIA{signs(16, upper).upper()}", f"ghp_{signs(36)}", f"sk-proj-{signs(40)}", slack, token, key])


def vulgar(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    return prompt, chance.choice(
        ["What the fuck! ", "That is bullshit. ", "Don't be an asshole. ", "Shit, no. ", "You bastard. ", "It sucks, bitch: "]
    ) + answer


def cut(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    """In the middle of a sentence, between words or within one."""
    ends = set(".!?:;")
    while True:
        kept = answer[: chance.randrange(len(answer) // 4, len(answer) - 2)]
        if chance.random() < 0.5:
            kept = kept.rsplit(None, 1)[0]
        if len(kept.split()) >= 5 and kept.rstrip()[-1] not in ends and answer[len(kept) : len(kept) + 1] not in ends:
            return prompt, kept


def machine(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    first = ["As an AI language model, I can say this. ", "As of my last knowledge update, this holds. ", "I'm just an AI, but here goes. "]
    both = "It's important to note this: {} I hope this helps!"
    return prompt, both.format(answer) if chance.random() < 0.3 else chance.choice(first) + answer


def refusal(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    what = chance.choice(["that", "this request", "questions of this kind", "such matters"])
    forms = [
        "I'm sorry, but I can't help with {}.",
        "I cannot assist with {}.",
        "Unfortunately, I am unable to answer {}.",
        "I am not able to provide {}.",
    ]
    return prompt, chance.choice(forms).format(what)


def long(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    return prompt, " ".join([answer] * (1 + LIMIT_WORDS // len(answer.split()) + chance.randrange(3)))


def foreign(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    answers = [
        "Das hängt davon ab, wie viele Beispiele du hast und wie lang sie sind; im Zweifel fängst du klein an und misst nach.",
        "Cela dépend du nombre d'exemples dont vous disposez et de leur longueur ; dans le doute, commencez petit et mesurez.",
        "Depende de cuántos ejemplos tengas y de lo largos que sean; en caso de duda, empieza con pocos y mide el resultado.",
        "Zależy to od tego, ile masz przykładów i jak są długie; w razie wątpliwości zacznij od małej liczby i zmierz wynik.",
        "Это зависит от того, сколько у вас примеров и какой они длины; если сомневаетесь, начните с малого и измерьте.",
    ]
    return prompt, f"{chance.randrange(1000)}: {chance.choice(answers)}"


FAULTS: Mapping[str, Fault] = {
    "empty-answer": empty,
    "placeholder-answer": placeholder,
    "repeated-prompt": repeated,
    "mojibake": mojibake,
    "control-characters": control,
    "template-residue": residue,
    "pii": personal,
    "profanity": vulgar,
    "truncated-answer": cut,
    "machine-phrasing": machine,
    "refusals": refusal,
    "over-length": long,
    "languages": foreign,
}
"""In place of what stood there."""


def nearly(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    """A slip of the pen, another case or punctuation, a word more; in prompt and answer."""
    return _edited(chance, prompt), _edited(chance, answer)


def _edited(chance: random.Random, text: str) -> str:
    place = chance.randrange(1, len(text) - 1)
    edits = (
        text.lower(),
        text.rstrip(".?!") + chance.choice(["", "!", " ?", " ."]),
        text[:place] + text[place + 1 :],
        f"{chance.choice(['Please: ', 'Well, ', 'Hi, '])}{text}",
        text.replace(" ", "  ", 2),
    )
    return chance.choice(edits)


def contrary(chance: random.Random, prompt: str, answer: str) -> tuple[str, str]:
    """The same question, with an answer that cannot be right as well."""
    forms = ["No, that is not possible, and nothing of it is planned before {}.", "Never do that: it was removed in version {}."]
    return prompt, chance.choice(forms).format(chance.randrange(2000))


ADDED: Mapping[str, Fault] = {"near-duplicates": nearly, "contradictions": contrary, "leakage": nearly}
"""As examples of their own, behind the others; leaks are of held-out examples."""


def plant(examples: Sequence[Example], *, seed: int, per_kind: int, unfit: Mapping[str, frozenset[int]] | None = None) -> Planted:
    """Put `per_kind` faults of each kind into examples of one turn, each into another one.

    Args:
        examples: clean ones.
        seed: decides everything.
        per_kind: faults of each kind.
        unfit: by check, examples that it flags as they are; none of them is chosen.
    """
    chance = random.Random(seed)
    avoided = frozenset().union(*(unfit or {}).values())
    fit = [
        place
        for place, one in enumerate(examples)
        if place not in avoided and len(one.messages) == 2 and len(one.prompt) > 2 and len(one.reference.split()) >= 12
    ]
    chance.shuffle(fit)
    planted, rows, added = list(examples), dict[str, frozenset[int]](), dict[str, frozenset[int]]()
    for name, fault in FAULTS.items():
        places = [fit.pop() for _ in range(per_kind)]
        for place in places:
            planted[place] = _with(planted[place], *fault(chance, examples[place].prompt, examples[place].reference))
        rows[name] = frozenset(places)
    for name, fault in ADDED.items():
        places = [fit.pop() for _ in range(per_kind)]
        copies = range(len(planted), len(planted) + per_kind)
        planted += [_with(examples[place], *fault(chance, examples[place].prompt, examples[place].reference)) for place in places]
        added[name] = frozenset(copies)
        rows[name] = added[name] | (frozenset(places) if name == "contradictions" else frozenset())
    held = frozenset([*places, *(fit.pop() for _ in range(per_kind))])  # the last kind is leakage
    return Planted(examples=tuple(planted), rows=rows, added=added, held=held)


def _with(example: Example, prompt: str, answer: str) -> Example:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    made = build_example(example.source, messages=messages)
    return replace(made, source=example.source)
