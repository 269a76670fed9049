"""Which rows of a prepared data set a check flags: the report counts them, the check itself finds them again."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.errors import TunesmithError
from tunesmith.studio.pages.data_reading import SPLITS, open_rows
from tunesmith.studio.readable import Unreadable, number, read_object
from tunesmith.studio.reading import DataSummary

FlaggedRows = Mapping[str, frozenset[int]]
"""Split to places of its rows."""


def read_flagged(data: DataSummary, check: str) -> FlaggedRows:
    """Run one check over the three splits, as `tunesmith check` does.

    Raises:
        Unreadable: there is no such check, it needs what is not here, or the files hold something else.
    """
    from tunesmith.data.check import Joined
    from tunesmith.data.checks import CheckContext
    from tunesmith.data.checks.run import run_checks

    rows = {split: open_rows(data.path / f"{split}.jsonl") for split in SPLITS}
    threshold = number(read_object(data.path / "manifest.json"), "settings", "near_threshold")
    context = CheckContext() if threshold is None else CheckContext(threshold=threshold)
    try:
        found = run_checks(Joined([rows[split].examples for split in SPLITS]), [check], context=context)
    except TunesmithError as error:
        raise Unreadable(f"The rows cannot be found: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # lines that are no examples
        raise Unreadable(f"The rows are no examples ({type(error).__name__}: {error})") from None
    flagged = {position for finding in found if finding.check == check for position in finding.flagged}
    if not flagged:
        raise Unreadable(f"{check} says something of the whole set, or the rows that it flagged were dropped: it flags no row.")
    result, start = {}, 0
    for split in SPLITS:
        end = start + len(rows[split])
        result[split] = frozenset(position - start for position in flagged if start <= position < end)
        start = end
    return result
