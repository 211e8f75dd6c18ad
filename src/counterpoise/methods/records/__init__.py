"""One record per file; each file holds a single ``METHOD``."""
