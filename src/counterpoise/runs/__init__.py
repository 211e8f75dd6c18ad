"""Typed records of finished runs and studies on disk; imports no torch."""
