"""Feature extraction: map (B, C, H, W) to (B, T, D), the mean over the height."""
