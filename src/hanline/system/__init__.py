"""Helpers for the operating system: files, memory, processes, a terminal."""
