"""Checkpoint + images → readings, and the reports that show them."""
