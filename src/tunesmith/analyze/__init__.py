"""What still goes wrong, by cause: error groups, what was fixed and newly broken, what to change in the data."""
