"""Collects Korean news headlines, each once, and keeps them as text for training."""
