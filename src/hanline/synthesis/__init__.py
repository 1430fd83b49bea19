"""Text to images: fonts, renderers, and whole datasets rendered in parallel.

``base.py`` is the contract of a renderer. Nothing here imports torch.
"""
