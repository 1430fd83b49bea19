"""Prediction: map features (B, T, D') to texts, and own the loss."""
