"""Hanline trains text recognisers for Korean news headlines, and reads with them."""

from importlib.metadata import version

__version__ = version("hanline")
