"""Comparison of methods on the same repeats."""

from counterpoise.studies.compare.study import ComparisonResult as ComparisonResult
