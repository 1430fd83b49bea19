"""Transformation: (B, C, H, W) → (B, C, H, W), the text straightened."""
