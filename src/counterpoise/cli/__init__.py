"""The command line: one file per command, no logic; heavy packages are imported inside the commands."""
