"""Tokens to numbers: loading, adapters, packing, attention, loss, scoring, generation. Knows no user files."""

from tunesmith.engine.quantize import without_bitsandbytes

with without_bitsandbytes():  # which importing peft imports wherever it is installed
    import peft  # noqa: F401
