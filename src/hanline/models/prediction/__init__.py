"""Prediction: features (B, T, D') → texts, with the loss that teaches it."""
