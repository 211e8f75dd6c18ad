"""Studies on one engine: compare, transfer, enhance, reproduce."""
