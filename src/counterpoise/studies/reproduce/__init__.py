"""The papers' tables: run again under their own protocols, beside the published numbers."""
