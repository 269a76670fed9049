"""Sources that are no tables, each kind made into rows by one importer.

    importer = find_importer(Path("export"))                      # None: an ordinary data file
    tally = Tally()
    for row in importer.read(Path("export"), "export", assistant=None, tally=tally):
        ...
    print(tally.note())                                           # what was left out, whole after the last row

Importers are tried in the order of `IMPORTERS`; each recognises its kind only where it can be sure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunesmith.data.importers import chats, documents, docx, faq, pdf, seeds, slack, support, transcripts
from tunesmith.data.importers.record import HEAD_BYTES, Importer, Tally, head_of

__all__ = ["HEAD_BYTES", "IMPORTERS", "Importer", "Tally", "find_importer"]

_MODULES = (slack, chats, transcripts, support, faq, documents, pdf, docx, seeds)
IMPORTERS: Mapping[str, Importer] = {module.IMPORTER.name: module.IMPORTER for module in _MODULES}
"""By the name that `--kind` takes."""


def find_importer(path: Path, head: bytes | None = None) -> Importer | None:
    """Who surely knows this file or folder; None where the readers of tables are meant. `head`: its first bytes, if at hand."""
    head = head_of(path) if head is None else head
    return next((importer for importer in IMPORTERS.values() if importer.recognises(path, head)), None)
