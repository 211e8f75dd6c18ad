"""The engine that every study runs on."""
