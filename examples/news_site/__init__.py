"""A news site of invented headlines on this machine, for the crawler's demo and tests."""
