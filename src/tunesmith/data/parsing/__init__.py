"""Bytes -> text -> records of one file, and what makes a row unusable (faults)."""
