"""One record per file; each file holds a single ``RECORD`` and imports no torch."""
