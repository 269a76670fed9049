"""`FILE.py:FUNCTION`: a scorer of the user's own, loaded because the user named it.

def polite(completion, reference, prompt):
    return float("please" in completion.lower()), "says please"     # or the number alone, or None where it does not apply
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.scorers.scorer import Metric, Score, Scorer

MARK = ".py:"


def own_scorer(name: str) -> Scorer:
    """The scorer called `FILE.py:FUNCTION`.

    Raises:
        ConfigError: the file cannot be loaded, or has no such function.
    """
    path, _, function_name = name.rpartition(":")
    function = getattr(_module(Path(path), name), function_name, None)
    if not callable(function):
        expected = "a function of (completion, reference, prompt)"
        raise ConfigError(f"scorer {name}", f"{path} has no function {function_name!r}", expected=expected, remedy="correct the name")

    def score(completion: str, reference: str, prompt: str) -> Score | None:
        return _score(_call(function, name, completion, reference, prompt), name)

    return Scorer(metric=own_metric(name), function=score)


def own_metric(name: str) -> Metric:
    """Of the scorer called `FILE.py:FUNCTION`."""
    title = name.rpartition(":")[2]
    return Metric(name=name, title=title, higher_is_better=True, scale=f"as {name} gives it", decimals=2)


def _module(path: Path, name: str) -> Any:
    """Run the file as a module of its own; modules beside it can be imported by it."""
    spec = importlib.util.spec_from_file_location(f"tunesmith_scorer_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"scorer {name}", f"there is no file {path}", expected="FILE.py:FUNCTION", remedy="correct the path")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        found = f"loading it raised {type(error).__name__}: {error}"
        raise ConfigError(f"scorer {name}", found, expected="Python that can be imported", remedy=f"correct {path}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _call(function: Callable[..., Any], name: str, completion: str, reference: str, prompt: str) -> Any:
    try:
        return function(completion, reference, prompt)
    except Exception as error:
        raise DataError(
            f"scorer {name}",
            f"it raised {type(error).__name__}: {error}",
            expected="a number, or (number, explanation), or None where it does not apply",
            remedy="correct the function, or evaluate without it",
        ) from error


def _score(given: Any, name: str) -> Score | None:
    """What the function returned, as a score."""
    if given is None:
        return None
    value, explanation = given if isinstance(given, tuple) and len(given) == 2 else (given, "")
    try:
        return Score(float(value), str(explanation))
    except (TypeError, ValueError):
        raise DataError(
            f"scorer {name}",
            f"it returned {given!r}",
            expected="a number, or (number, explanation), or None where it does not apply",
            remedy="correct the function, or evaluate without it",
        ) from None
