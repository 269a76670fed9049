"""Known failures of every kind in the answers to known examples, chosen by a seed: what the error groups have to find, and nothing else.

planted = plant(examples, seed=1, per_kind=20)
planted.records                      # each with one model's answer
planted.kinds[12]                    # the failure planted in the twelfth, None for a good answer
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.analyze.spelling import Spelling, is_english_word
from tunesmith.data.checks.refusals import is_refusal
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import exact_match, token_f1
from tunesmith.evaluate.scorers.redirections import learn_redirections, nearest_redirection
from tunesmith.types import Example, FinishReason, Message

LABEL = "base"
FEWEST_WORDS = 16
"""Of references that failures are planted beside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a failure is made of."""

    chance: random.Random
    prompt: str
    answer: str
    """The right one."""
    train: Sequence[Example]
    redirection: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A planted completion."""

    completion: str
    finish_reason: FinishReason = "end_of_turn"
    reference: str | None = None
    """Where the right answer is another one than the example's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """Records with failures in them."""

    records: tuple[EvaluationRecord, ...]
    kinds: tuple[str | None, ...]
    """By record: the error group it has to be in; None for none."""
    train: tuple[Example, ...]


def good(given: Given) -> Failure:
    """The reference, said a little otherwise, of the same length."""
    words = given.answer.split()
    place = given.chance.randrange(len(words))
    forms = [
        given.answer,
        f"Well, {given.answer}",
        given.answer.replace(", ", " and ", 1),
        " ".join([*words[:place], *words[place + 1 :]]),
        f"{given.answer} That is all.",
    ]
    return Failure(completion=given.chance.choice(forms))


def shaped(given: Given) -> Failure:
    """A reference in a format, and an answer in the same format."""
    reference, other, _ = _shapes(given)
    return Failure(completion=other, reference=reference)


def empty(given: Given) -> Failure:
    return Failure(completion=given.chance.choice(["", " ", "\n\n", "\t"]))


def cut(given: Given) -> Failure:
    words = given.answer.split()
    while True:
        kept = words[: given.chance.randrange(len(words) // 2 + 1, len(words) - 1)]
        if kept[-1][-1].isalnum():
            return Failure(completion=" ".join(kept), finish_reason=given.chance.choice(["max_new_tokens", "context_full"]))


def no_end(given: Given) -> Failure:
    limit: FinishReason = given.chance.choice(["max_new_tokens", "context_full"])
    complete = given.answer.rstrip()
    complete = complete if complete[-1] in ".!?" else f"{complete}."
    more = " ".join(_others(given, 3 * len(complete.split())))
    forms = [complete, f"{complete} {more}".rsplit(None, 1)[0], " ".join([complete] * 5).rsplit(None, 3)[0]]
    return Failure(completion=given.chance.choice(forms), finish_reason=limit)


def too_long(given: Given) -> Failure:
    return Failure(completion=f"{given.answer} {' '.join(_others(given, 2 * len(given.answer.split()) + 5))}")


def too_short(given: Given) -> Failure:
    words = given.answer.split()
    kept = words[: given.chance.randrange(2, max(3, len(words) // 3))]
    return Failure(completion=f"{' '.join(kept).rstrip('.,;:')}.")


def repetitive(given: Given) -> Failure:
    words, times = given.answer.split(), given.chance.randrange(4, 9)
    start = given.chance.randrange(len(words) // 2)
    phrase = " ".join(words[start : start + given.chance.randrange(3, 9)])
    sentences = [sentence.strip() for sentence in given.answer.split(". ") if sentence.strip()]
    forms = [
        f"{given.answer} {' '.join([phrase] * times)}",
        f"{given.answer} {' '.join([words[start]] * (2 * times))}",
        " ".join([f"{sentences[0]}."] * times),
        " ".join([given.answer] * times),
        f"{given.answer} {'no' * 5 * times}",
    ]
    return Failure(completion=given.chance.choice(forms))


FOREIGN = (
    "Das hängt davon ab, wie viele Beispiele du hast und wie lang sie sind; im Zweifel fängst du klein an und misst nach.",
    "Cela dépend du nombre d'exemples dont vous disposez et de leur longueur ; dans le doute, commencez petit et mesurez.",
    "Depende de cuántos ejemplos tengas y de lo largos que sean; en caso de duda, empieza con pocos y mide el resultado.",
    "Dipende da quanti esempi hai e da quanto sono lunghi; nel dubbio comincia con pochi e misura il risultato.",
    "Isso depende de quantos exemplos você tem e do tamanho deles; na dúvida, comece com poucos e meça o resultado.",
    "Zależy to od tego, ile masz przykładów i jak są długie; w razie wątpliwości zacznij od małej liczby i zmierz wynik.",
    "Это зависит от того, сколько у вас примеров и какой они длины; если сомневаетесь, начните с малого и измерьте.",
    "这取决于你有多少例子以及它们有多长；如果不确定，就从少量开始，然后测量结果。",
    "それは例がいくつあるか、どのくらい長いかによります。迷ったら小さく始めて測ってください。",
    "Dat hangt ervan af hoeveel voorbeelden je hebt en hoe lang ze zijn; begin bij twijfel klein en meet het resultaat.",
    "Bu, kaç örneğiniz olduğuna ve ne kadar uzun olduklarına bağlıdır; emin değilseniz azla başlayın ve sonucu ölçün.",
    "Зависит от примеров.",
    "يعتمد ذلك على عدد الأمثلة لديك وعلى طولها، فإذا شككت فابدأ بالقليل ثم قس النتيجة.",
)


def wrong_language(given: Given) -> Failure:
    return Failure(completion=given.chance.choice(FOREIGN))


def wrong_format(given: Given) -> Failure:
    reference, _, broken = _shapes(given)
    return Failure(completion=broken, reference=reference)


def _shapes(given: Given) -> tuple[str, str, str]:
    """A reference in a format, another text in it, and one that breaks it."""
    words = [word.strip(".,;:()\"'") or "so" for word in given.answer.split()]
    first, second = " ".join(words[:5]), " ".join(words[5:12])
    number = given.chance.randrange(3, 990)
    record, other = {"topic": first, "about": second}, {"topic": " ".join(words[:4]), "about": second}
    broken_json = [
        json.dumps(other)[:-1],
        f"```json\n{json.dumps(other)}\n```",
        f"topic: {first}, about: {second}",
        str(other),
        json.dumps({"topic": first, "subject": second}),
        json.dumps([first, second]),
    ]
    code = f"```python\nresult = run({number})\nprint(result)\n```"
    table = f"| part | says |\n|---|---|\n| {first} | {number} |"
    forms = [
        (json.dumps(record), json.dumps(other), given.chance.choice(broken_json)),
        (f"- {first}\n- {second}\n- {words[-1]}", f"1. {first}\n2. {second}\n3. {words[0]}", f"{first}, {second} and {words[-1]}."),
        (str(number), str(number + 1), f"I would say that it is {first}."),
        (code, code.replace("result", "value"), f"You call the function named run with {number} and print what it gives."),
        (table, table.replace(words[0], words[-1]), f"{first} says {number}."),
    ]
    return given.chance.choice(forms)


def misspelt(given: Given) -> Failure:
    words = given.answer.split()
    places = [place for place, word in enumerate(words) if word.isalpha() and word.islower() and len(word) >= 7 and is_english_word(word)]
    for place in given.chance.sample(places, min(2, len(places))):
        words[place] = _slip(given.chance, words[place])
    return Failure(completion=" ".join(words))


def _slip(chance: random.Random, word: str) -> str:
    """A letter lost, doubled or exchanged with the next, so that it is no word."""
    while True:
        place = chance.randrange(1, len(word) - 2)
        forms = [
            word[:place] + word[place + 1 :],
            word[:place] + word[place] + word[place:],
            word[:place] + word[place + 1] + word[place] + word[place + 2 :],
        ]
        slipped = chance.choice(forms)
        if slipped != word and not is_english_word(slipped):
            return slipped


def copies_prompt(given: Given) -> Failure:
    return Failure(completion=given.chance.choice([given.prompt, f"{given.prompt} {given.prompt}", given.prompt.lower().rstrip("?.!")]))


def memorised(given: Given) -> Failure:
    redirections = learn_redirections(given.train)
    while True:
        one = given.chance.choice(given.train)
        if is_refusal(one.reference) or nearest_redirection(one.reference, redirections) or len(one.reference.split()) < 14:
            continue
        if token_f1(one.reference, given.answer) < 0.45 and token_f1(one.prompt, given.prompt) < 0.7:
            words = one.reference.split()
            place = given.chance.randrange(len(words))
            forms = [one.reference, " ".join([*words[:place], *words[place + 1 :]]), one.reference.lower()]
            return Failure(completion=given.chance.choice(forms))


REFUSALS = (
    "I'm sorry, but I can't help with {}.",
    "I cannot assist with {}.",
    "Unfortunately, I am unable to answer {}.",
    "I am not able to provide {}.",
    "Sorry, I can't answer {}.",
    "I must decline to answer {}.",
)


def _refusal(chance: random.Random) -> str:
    return chance.choice(REFUSALS).format(chance.choice(["that", "this request", "questions of this kind", "such matters"]))


def needless_refusal(given: Given) -> Failure:
    return Failure(completion=_refusal(given.chance))


def missed_refusal(given: Given) -> Failure:
    return Failure(completion=given.answer, reference=_refusal(given.chance))


def needless_redirection(given: Given) -> Failure:
    return Failure(completion=given.redirection)


def missed_redirection(given: Given) -> Failure:
    return Failure(completion=given.answer, reference=given.redirection)


ELSEWHERE = (
    "Volcanoes erupt when molten rock rises through cracks in the crust and gases expand violently near the surface.",
    "Sharks replace their teeth throughout life, and some species grow thousands of them in warm oceans.",
    "Bread rises because yeast turns sugar into carbon dioxide, which stretches the gluten in the dough.",
    "The moon shows the same face to the earth since its rotation is locked to its orbit by tides.",
    "Bees dance in the hive to tell their sisters in which direction the best flowers grow.",
    "A violin is tuned in fifths, and its bow is strung with horsehair rubbed with rosin.",
    "Penguins huddle in large groups through the antarctic winter and take turns standing outside.",
    "Tomatoes ripen faster beside bananas, whose skins give off ethylene all day.",
    "Castles had narrow spiral staircases so that attackers climbing upward could hardly swing a sword.",
    "Glaciers grind valleys into wide troughs and leave moraines of gravel behind as they melt.",
)


def off_topic(given: Given) -> Failure:
    one, other = given.chance.sample(ELSEWHERE, 2)
    return Failure(completion=given.chance.choice([one, f"{one} {other}"]))


def invented_address(given: Given) -> Failure:
    host = f"{given.chance.choice(['quilbo', 'zantra', 'mervox', 'plimtech'])}{given.chance.randrange(100)}"
    forms = [
        f"See https://{host}.com/guide/start.",
        f"Write to help@{host}.org.",
        f"Visit www.{host}.io for more.",
        f"More on {host}.ai/docs.",
    ]
    return Failure(completion=_with(given, given.chance.choice(forms)))


def invented_number(given: Given) -> Failure:
    number = given.chance.randrange(12_000, 98_000)
    forms = [
        f"It takes about {number:,} seconds.",
        f"That is {given.chance.randrange(100, 900)}.{given.chance.randrange(11, 99)}% of all.",
        f"It costs ${number}.",
        f"This holds for {number} of them.",
    ]
    return Failure(completion=_with(given, given.chance.choice(forms)))


NAMES = (
    "Maria Gonzalez",
    "Ebenezer Kowalczyk",
    "Toledo",
    "Zanzibar",
    "Priyanka Subramanian",
    "Wolfgang Huberstein",
    "Timbuktu",
    "Ljubljana",
)


def invented_name(given: Given) -> Failure:
    name = given.chance.choice(NAMES)
    forms = [f"This was shown by {name} first.", f"Ask {name} about it.", f"It comes from {name}, as we know."]
    return Failure(completion=_with(given, given.chance.choice(forms)))


def _with(given: Given, sentence: str) -> str:
    return f"{given.answer} {sentence}" if given.chance.random() < 0.7 else f"{sentence} {given.answer}"


def _others(given: Given, num_words: int) -> list[str]:
    """Sentences of training answers, each another one."""
    found: list[str] = []
    for one in given.chance.sample(list(given.train), min(60, len(given.train))):
        if sum(len(sentence.split()) for sentence in found) >= num_words:
            break
        if not is_refusal(one.reference) and len(one.reference.split()) > 5:
            found.append(one.reference)
    return found


FAILURES: Mapping[str, Callable[[Given], Failure]] = {
    "empty": empty,
    "cut": cut,
    "no_end": no_end,
    "too_long": too_long,
    "too_short": too_short,
    "repetitive": repetitive,
    "wrong_language": wrong_language,
    "wrong_format": wrong_format,
    "misspelt": misspelt,
    "copies_prompt": copies_prompt,
    "memorised": memorised,
    "needless_refusal": needless_refusal,
    "missed_refusal": missed_refusal,
    "needless_redirection": needless_redirection,
    "missed_redirection": missed_redirection,
    "off_topic": off_topic,
    "invented_address": invented_address,
    "invented_number": invented_number,
    "invented_name": invented_name,
}

_LENGTHS = frozenset({"too_long", "too_short"})
_CLAIMS = frozenset({"invented_address", "invented_number", "invented_name"})
"""Of right answers that were taken out of the reference."""
IMPLIED: Mapping[str | None, frozenset[str]] = {
    "cut": frozenset({"too_short"}),
    "no_end": frozenset({"too_long", "repetitive", "memorised"}),  # what it goes on with may be mostly one training answer
    "too_long": frozenset({"off_topic", "memorised"}),
    "too_short": frozenset({"off_topic", "copies_prompt"}),
    "repetitive": _LENGTHS | {"copies_prompt"},
    "wrong_language": _LENGTHS | {"off_topic", "misspelt", "invented_name"},
    "wrong_format": _LENGTHS | {"off_topic"},  # its reference may be a number
    "copies_prompt": _LENGTHS | {"repetitive"},
    "memorised": _LENGTHS | {"off_topic", "copies_prompt"},
    "missed_refusal": _CLAIMS | {"memorised"},
    "missed_redirection": _CLAIMS | {"memorised"},
    "off_topic": _LENGTHS,
    "invented_address": frozenset({"too_long"}),
    "invented_number": frozenset({"too_long"}),
    "invented_name": frozenset({"too_long"}),
}
"""What is true of a planted failure as well: neither a hit nor a false alarm."""


def plant(examples: Sequence[Example], *, seed: int, per_kind: int) -> Planted:
    """Put `per_kind` failures of each kind beside held-out examples, each beside another one, and twice as many good answers.

    Args:
        examples: questions and answers; those that nothing is planted beside are the training examples.
        seed: decides everything.
        per_kind: failures of each kind.
    """
    chance = random.Random(seed)
    redirections = learn_redirections(examples)
    spelling = Spelling.learn(examples)
    fit = [one for one in examples if _is_fit(one) and not nearest_redirection(one.reference, redirections) and spelling.is_english]
    chance.shuffle(fit)
    wanted: list[str | None] = [kind for kind in FAILURES for _ in range(per_kind)]
    wanted += [None] * (2 * per_kind) + ["shaped"] * per_kind
    asked = fit[: len(wanted)]
    assert len(asked) == len(wanted), f"{len(fit)} examples fit, {len(wanted)} are wanted"
    held = {one.id for one in asked}
    train = tuple(one for one in examples if one.id not in held)
    redirection = learn_redirections(train)[0].text
    records, kinds = [], []
    for example, kind in zip(asked, wanted, strict=True):
        given = Given(chance=chance, prompt=example.prompt, answer=example.reference, train=train, redirection=redirection)
        make = good if kind is None else shaped if kind == "shaped" else FAILURES[kind]
        records.append(_record(example, make(given)))
        kinds.append(None if kind == "shaped" else kind)
    return Planted(records=tuple(records), kinds=tuple(kinds), train=train)


def _is_fit(example: Example) -> bool:
    words = example.reference.split()
    longish = sum(word.isalpha() and word.islower() and len(word) >= 7 and is_english_word(word) for word in words)
    return len(words) >= FEWEST_WORDS and longish >= 2 and len(example.prompt.split()) >= 7 and not is_refusal(example.reference)


def _record(example: Example, failure: Failure) -> EvaluationRecord:
    reference = example.reference if failure.reference is None else failure.reference
    answer = ModelAnswer(
        completion=failure.completion,
        finish_reason=failure.finish_reason,
        num_tokens=len(failure.completion.split()) + 1,
        loss_total=2.0,
        num_supervised=1,
        scores={"token_f1": token_f1(failure.completion, reference), "exact_match": exact_match(failure.completion, reference)},
    )
    return EvaluationRecord(
        id=example.id,
        source=example.source,
        prompt=example.prompt,
        reference=reference,
        messages=(Message(role="user", content=example.prompt),),
        answers={LABEL: answer},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How well one error group was found."""

    planted: int
    hits: int
    false_alarms: int

    @property
    def recall(self) -> float:
        return self.hits / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + self.false_alarms) if self.hits + self.false_alarms else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(planted=self.planted + other.planted, hits=self.hits + other.hits, false_alarms=self.false_alarms + other.false_alarms)


def scores_of(planted: Planted, found: Sequence[Mapping[str, str]]) -> dict[str, Score]:
    """By error group; `found` are each record's groups."""
    scores = {}
    for group in FAILURES:
        pairs = list(zip(planted.kinds, found, strict=True))
        own = [group in groups for kind, groups in pairs if kind == group]
        alarms = [group in groups for kind, groups in pairs if kind != group and group not in IMPLIED.get(kind, ())]
        scores[group] = Score(planted=len(own), hits=sum(own), false_alarms=sum(alarms))
    return scores
