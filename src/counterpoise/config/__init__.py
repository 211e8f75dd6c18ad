"""Settings: one pydantic model per part, torch-free."""
