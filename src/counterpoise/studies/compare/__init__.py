"""Comparison of methods on the same repeats."""
