"""Which languages the answers are in, and which examples are in one that hardly any other is in.

    >>> identify("Das Modell wird auf deinem eigenen Rechner trainiert und danach verglichen.")
    'de'

Code, addresses and numbers are taken out first, and a text has to be long enough to tell. Where a quarter of its words are the little
words of one language, that is it. All others are put to py3langid (naive Bayes over byte sequences, a millisecond a text), which
chooses among widespread languages only: of the hundred it knows, many are met by mistake more often than in earnest.
Of large sets a sample is looked at, and that is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Self

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, excerpt, percent
from tunesmith.data.checks.sampling import Sample, Taken
from tunesmith.errors import ConfigError
from tunesmith.types import Example

NAME = "languages"
SAMPLE_SIZE = 5_000
FEWEST_LETTERS = 40
"""Below, a text is not judged: a name or a term settles what it looks like."""
MOST_CHARACTERS = 300
"""Of a text that are looked at; more tell no more."""
SURE = 0.9
"""Probability from which a text counts as in a language."""
MEANT_SHARE = 0.1
"""A language of so many of the examples is meant to be there."""
LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
LITTLE_WORDS = {
    "en": "the of and to in is that it for with as you are be this on can or not your have from by at if what how do which i my me has",
    "de": "der die das und ist nicht ein eine zu den mit von auf für sich im dem es auch als an wird sie oder werden wie ich bei sind",
    "fr": "le la les des et est un une du en que qui dans pour pas sur vous au avec ce il sont ou par plus ne se votre cette être",
    "es": "el la los las de y que en un una es por con para se del al su lo como más o este está puede si son sus pero",
    "it": "il la le di e che un una è per con del della in non si da gli al sono nel come più o dei questo ha delle può",
    "pt": "os de e que da em um uma é para com não se por na no dos mais como ao ou seu sua são pode das",
    "nl": "de het een en van is in dat op te met voor niet zijn die je aan er ook als om bij wordt naar kan dit door maar",
}
LITTLE_SHARE = 0.25
"""Of a text's words."""
NO_PROSE = re.compile(r"```.*?(?:```|$)|`[^`\n]*`|https?://\S+|\S+@\S+|\S*[_/\\<>{}=|]\S*|[\d]+", re.DOTALL)
LETTER = re.compile(r"[^\W\d_]")
DENSE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Letters that say as much as three others."""


def identify(text: str) -> str | None:
    """The code of the language, or None where it cannot be told."""
    prose = " ".join(NO_PROSE.sub(" ", text[: 4 * MOST_CHARACTERS]).split())[:MOST_CHARACTERS]
    if len(LETTER.findall(prose)) + 2 * len(DENSE.findall(prose)) < FEWEST_LETTERS:
        return None
    if code := _by_little_words(prose):
        return code
    code, probability = _classifier()(prose)
    return code if probability >= SURE else None


def _by_little_words(prose: str) -> str | None:
    """The language with the most little words, if they are many and twice as many as any other's."""
    words = prose.casefold().split()
    best, second = sorted(((sum(word in own for word in words), code) for code, own in _LITTLE.items()), reverse=True)[:2]
    return best[1] if best[0] >= LITTLE_SHARE * len(words) and best[0] >= 2 * second[0] else None


_LITTLE = {code: frozenset(words.split()) for code, words in LITTLE_WORDS.items()}


@lru_cache(maxsize=1)
def _classifier() -> Callable[[str], tuple[str, float]]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(sorted(LANGUAGES))
    classify: Callable[[str], tuple[str, float]] = identifier.classify
    return classify


class Languages:
    """The check."""

    def __init__(self, context: CheckContext) -> None:
        if unknown := sorted(context.languages - LANGUAGES.keys()):
            known = ", ".join(LANGUAGES)
            raise ConfigError(
                "languages", f"there is no language {unknown[0]!r} here", expected=f"some of {known}", remedy="correct the code"
            )
        self.name = NAME
        self.context = context
        self.sample = Sample(SAMPLE_SIZE, most_characters=4 * MOST_CHARACTERS)
        self.num_seen = 0

    def look(self, position: int, example: Example) -> None:
        self.num_seen += 1
        self.sample.offer(position, example)

    def merge(self, other: Self) -> None:
        self.num_seen += other.num_seen
        self.sample.merge(other.sample)

    def findings(self) -> list[Finding]:
        told = [(one, code) for one in self.sample.taken() if (code := language_of(one)) is not None]
        if not told:
            return []
        counts = Counter(code for _, code in told)
        meant = self.context.languages or {code for code, count in counts.items() if count >= MEANT_SHARE * len(told)}
        strange = [(one, code) for one, code in told if code not in meant]
        mix = ", ".join(f"{LANGUAGES[code]} {percent(count / len(told))}" for code, count in counts.most_common(5))
        of = "" if self.num_seen <= SAMPLE_SIZE else f" of a sample of {SAMPLE_SIZE:,}"
        aside = f"; {counted(len(strange), 'example')} in a language that is not meant" if strange else ""
        return [
            Finding(
                check=NAME,
                sentence=f"where they can be told ({counted(len(told), 'example')}{of}): {mix}{aside}",
                severity="warning" if strange else "note",
                count=len(strange),
                share=len(strange) / len(told),
                specimens=tuple(
                    Specimen(source=one.source, excerpt=f"{LANGUAGES[code]}: {excerpt(one.answer, length=130)}")
                    for one, code in strange[:MOST_SPECIMENS]
                ),
                flagged=tuple(one.position for one, _ in strange),
                action=self.context.action(NAME),
                option=f"--drop {NAME}" if strange else "",
                figures={
                    "sample": min(self.num_seen, SAMPLE_SIZE),
                    "told": len(told),
                    "shares": {code: round(count / len(told), 6) for code, count in counts.most_common()},
                    "meant": sorted(meant),
                },
            )
        ]


def language_of(one: Taken) -> str | None:
    """Of the answer; where that is too short, of prompt and answer together."""
    return identify(one.answer) or (identify(f"{one.prompt} {one.answer}") if len(one.answer) < 2 * FEWEST_LETTERS else None)


def languages(context: CheckContext) -> Languages:
    """A new check.

    Raises:
        ConfigError: a language is meant that is not in LANGUAGES.
    """
    return Languages(context)
