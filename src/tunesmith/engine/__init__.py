"""Tokens to numbers: loading, adapters, packing, attention, loss, scoring, generation. Knows no user files."""

from tunesmith.engine.quantize import import_bitsandbytes_offline

import_bitsandbytes_offline()  # before peft, which imports it wherever it is installed
