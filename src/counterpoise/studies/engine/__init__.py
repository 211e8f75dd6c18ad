"""The engine of every study: tasks in, outcomes out; it knows nothing of the science."""
