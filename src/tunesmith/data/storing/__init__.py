"""The prepared directory: examples in a file, staging, manifest."""
