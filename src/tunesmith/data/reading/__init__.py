"""What a user names -> sources of rows; questions of benchmarks."""
