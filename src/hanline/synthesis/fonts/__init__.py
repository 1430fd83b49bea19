"""Fonts: where they are, which characters they have, and which can render a text."""

from hanline.synthesis.fonts.font import Font
from hanline.synthesis.fonts.font_set import FontSet
from hanline.synthesis.fonts.places import bundled_files
from hanline.synthesis.fonts.search import find_fonts

__all__ = ["Font", "FontSet", "bundled_files", "find_fonts"]
