"""One file a way to headlines."""
