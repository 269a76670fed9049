"""What verbs with `--to` share: options of another target are refused by name, files for a hosted tuner are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tunesmith.cli.terminal import print_json
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.data.publishing.hosted import HostedFile


def refuse_given(verb: str, options: Mapping[str, object], expected: str) -> None:
    """Refuse options that mean nothing for the target chosen.

    Args:
        verb: where.
        options: by name; None and False say that an option was not given.
        expected: where they belong, such as `only with --to hub`.

    Raises:
        ConfigError: one of them was given; names all that were.
    """
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        remedy = f"leave {'it' if len(given) == 1 else 'them'} out"
        raise ConfigError(verb, f"{' and '.join(given)} given", expected=expected, remedy=remedy)


def show_hosted_files(files: Sequence[HostedFile], *, as_json: bool) -> None:
    """Print what was written for a hosted tuner."""
    if as_json:
        print_json({"files": [{"path": str(f.path), "examples": f.num_examples, "bytes": f.num_bytes} for f in files]})
        return
    for file in files:
        print(f"written: {file.path} ({file.num_examples:,} examples, {file.num_bytes:,} bytes, every line checked)")
