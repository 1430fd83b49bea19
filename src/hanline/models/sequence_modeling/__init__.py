"""Sequence modeling: map (B, T, D) to (B, T, D'), each step with its context."""
