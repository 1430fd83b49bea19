"""Recognizers whose products are of 8-bit integers."""
