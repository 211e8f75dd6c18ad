"""Everything that uses a finished run: predict, evaluate, adjust, explain, export."""
