"""The spiders: one file for each source of headlines."""
