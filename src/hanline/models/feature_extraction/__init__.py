"""Feature extraction: (B, C, H, W) → (B, T, D), the height averaged away."""
