"""`regex:PATTERN`: does a completion hold what the pattern describes?"""

from __future__ import annotations

from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.scorers.scorer import Metric, Score, Scorer

PREFIX = "regex:"
TIMEOUT_SECONDS = 1.0
"""For one completion; patterns such as `(a+)+$` can take longer than the universe is old."""


def regex_scorer(name: str) -> Scorer:
    """The scorer called `regex:PATTERN`: 1 if the pattern is found anywhere in the completion, else 0.

    Raises:
        ConfigError: it is no regular expression.
    """
    import regex

    pattern = name.removeprefix(PREFIX)
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        expected = "as the `regex` library reads them, Python's syntax and more"
        raise ConfigError(f"scorer {name}", f"no regular expression ({error})", expected=expected, remedy="correct the pattern") from None

    def function(completion: str, reference: str, prompt: str) -> Score:
        try:
            match = compiled.search(completion, timeout=TIMEOUT_SECONDS)
        except TimeoutError:
            raise DataError(
                f"scorer {name}",
                f"the pattern takes over {TIMEOUT_SECONDS:g} s on this completion",
                expected="a pattern that does not try every way to cut a text",
                remedy="avoid repetitions inside repetitions, or make them possessive (`++`)",
            ) from None
        return Score(float(match is not None), f"found {match[0][:80]!r}" if match else "not found")

    return Scorer(metric=regex_metric(name), function=function)


def regex_metric(name: str) -> Metric:
    """Of the scorer called `regex:PATTERN`."""
    return Metric(name=name, title=name, higher_is_better=True, scale="0 or 1, the pattern is found", decimals=2, binary=True)
