"""The steps of prepare and check: inputs, gather, selection, report."""
