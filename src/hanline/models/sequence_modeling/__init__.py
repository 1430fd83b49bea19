"""Sequence modeling: (B, T, D) → (B, T, D'), each step told of its neighbours."""
