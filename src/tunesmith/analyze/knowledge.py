"""What the training data know: their words, numbers, addresses, labels and languages, and which of their answers a model recalls.

    knowledge = Knowledge.learn(train_examples, completions, config)
    knowledge.recalled["Lamini is an engine …"].source       # 'faq.jsonl:17'

One pass over the training examples, which may be many; what is kept of them grows with their vocabulary, not with their number, and
answers are compared with an index over the completions, which are few.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tunesmith.analyze.claims import addresses_in, numbers_in, plain_words
from tunesmith.analyze.content import four_grams
from tunesmith.config import AnalyzeConfig
from tunesmith.data.checks.languages import MEANT_SHARE, identify
from tunesmith.evaluate.scorers.labels import label_key
from tunesmith.evaluate.scorers.shape import MOST_LABEL_WORDS, shape_of
from tunesmith.evaluate.words import num_words, words
from tunesmith.types import Example

FEWEST_WORDS = 8
"""Shorter answers are often right for several prompts, and recalling one says nothing."""
LANGUAGE_SAMPLE = 400
"""Answers whose language is told, evenly spaced."""
MOST_CHARACTERS = 1_200
SHAPE_SAMPLE = 20_000
"""Answers by which it is told whether they are labels."""


class Recalled(NamedTuple):
    """The training answer nearest to a completion."""

    id: str
    source: str
    prompt: str
    similarity: float
    """Jaccard similarity of the runs of four words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Knowledge:
    """Of the training examples."""

    words: frozenset[str] = frozenset()
    """Without regard to case."""
    numbers: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    """As `label_key` has them; empty unless the answers are names of classes."""
    languages: frozenset[str] = frozenset()
    """Codes of those that a tenth of the answers or more are in."""
    recalled: Mapping[str, Recalled] = field(default_factory=dict)
    """By completion, where a training answer is near."""

    @classmethod
    def learn(cls, examples: Iterable[Example], completions: Iterable[str], config: AnalyzeConfig) -> Knowledge:
        """Read the examples once; completions are looked for among their answers."""
        found, numbers, addresses = set[str](), set[str](), set[str]()
        labels, answers = set[str](), list[str]()
        recall = _Recall(completions, config.memorised_share)
        for example in examples:
            texts = [message.content for message in example.messages] if example.messages else [example.text or ""]
            for text in texts:
                found.update(plain_words(text))
                numbers.update(numbers_in(text, all_forms=True))
                addresses.update(addresses_in(text))
            if example.messages:
                answers.append(example.reference[:MOST_CHARACTERS])
                if num_words(answers[-1]) <= MOST_LABEL_WORDS:
                    labels.add(label_key(example.reference))
                recall.offer(example)
        return cls(
            words=frozenset(found),
            numbers=frozenset(numbers),
            addresses=frozenset(addresses),
            labels=frozenset(labels) if shape_of(_spread(answers, SHAPE_SAMPLE)) == "labels" else frozenset(),
            languages=_languages(_spread(answers, LANGUAGE_SAMPLE)),
            recalled=recall.nearest,
        )


def _spread(answers: Sequence[str], count: int) -> Sequence[str]:
    """About so many, evenly spaced."""
    return answers[:: max(1, len(answers) // count)]


def _languages(answers: Sequence[str]) -> frozenset[str]:
    told = Counter(code for answer in answers if (code := identify(answer)))
    return frozenset(code for code, count in told.items() if count >= MEANT_SHARE * told.total())


class _Recall:
    """Which training answer is nearest to each completion, from `least` similarity on."""

    def __init__(self, completions: Iterable[str], least: float) -> None:
        self.nearest: dict[str, Recalled] = {}
        self._least = least
        self._texts: list[str] = []
        self._sizes: list[int] = []
        self._places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for text in dict.fromkeys(completions):
            if num_words(text) >= FEWEST_WORDS:
                grams = set(four_grams(words(text)))
                for gram in grams:
                    self._places[gram].append(len(self._texts))
                self._texts.append(text)
                self._sizes.append(len(grams))

    def offer(self, example: Example) -> None:
        """Compare one training answer with all completions."""
        grams = set(four_grams(words(example.reference)))
        shared = Counter(place for gram in grams for place in self._places.get(gram, ()))
        for place, count in shared.items():
            similarity = count / (len(grams) + self._sizes[place] - count)
            known = self.nearest.get(self._texts[place])
            if similarity >= self._least and (known is None or similarity > known.similarity):
                self.nearest[self._texts[place]] = Recalled(example.id, example.source, example.prompt, similarity)
