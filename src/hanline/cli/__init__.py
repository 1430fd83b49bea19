"""The command line: Hydra, help, and errors as messages."""
