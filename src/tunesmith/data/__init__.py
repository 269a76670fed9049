"""Rows -> prepared data set: readers, columns, validation, split.

    from tunesmith.data import prepare, load_prepared
    prepared = prepare(["faq.csv"], Path("prepared/faq"), PrepareConfig(seed=123))
    print(prepared.summary())
    assert load_prepared("prepared/faq").train == prepared.train

In order of the way of the data: streams, formats, sources, importers -> layouts, columns -> faults, conversations, answers, examples
-> repair, review, convert -> gather (in workers; store, facts) -> checks -> selection (near, clusters), split, passages -> report,
prepare -> prepared. Heavy libraries (pyarrow, datasets) are imported by the reader that needs them.
"""

from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import ExamplesResult, Invalid, build_example, normalise_prompt, to_examples
from tunesmith.data.converting.layouts import Layout
from tunesmith.data.prepare import prepare, prepare_folds
from tunesmith.data.reading.readers import read_rows, rows_from_dataframe, rows_from_records
from tunesmith.data.storing.prepared import PreparedData, example_from_record, example_to_record, load_prepared

__all__ = [
    "ExamplesResult",
    "Invalid",
    "Layout",
    "PreparedData",
    "build_example",
    "builtin_data_file",
    "example_from_record",
    "example_to_record",
    "load_prepared",
    "normalise_prompt",
    "prepare",
    "prepare_folds",
    "read_rows",
    "recognise",
    "rows_from_dataframe",
    "rows_from_records",
    "to_examples",
]
