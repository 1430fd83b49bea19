"""Text to images: fonts, the looks that draw with them, and whole sets drawn in parallel.

Nothing here knows of torch.
"""
