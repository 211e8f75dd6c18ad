"""Compare methods on the same repeats."""
