"""Transformation: map (B, C, H, W) to (B, C, H, W), the text rectified."""
