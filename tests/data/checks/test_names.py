"""Names of people, where the extra is installed; a clear sentence where it is not."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.samples import qa
from tunesmith.data.checks import CheckContext, run_checks
from tunesmith.data.checks.names import mask
from tunesmith.errors import ConfigError


@pytest.mark.skipif(find_spec("presidio_analyzer") is not None, reason="the extra is installed")
def test_a_missing_extra_is_named() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'tunesmith\[pii\]'"):
        run_checks((qa("Who?", "Anna Schmidt."),), ["pii-names"], context=CheckContext())


@pytest.mark.skipif(find_spec("presidio_analyzer") is None, reason="needs the extra pii")
def test_names_are_masked() -> None:
    assert mask("Dear Anna Schmidt, your order is on its way.") == "Dear [NAME], your order is on its way."
