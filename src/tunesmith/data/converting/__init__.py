"""Rows -> examples with facts: columns, validation, repairs, review."""
