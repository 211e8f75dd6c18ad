"""The best model for a folder of pictures within a time budget."""
