"""Which texts are (nearly) the same: shingles, MinHash, runs of words."""
