"""The papers' published numbers, as CSV files."""
