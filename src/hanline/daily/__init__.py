"""Every day a better reader: take in new text, train, compare, promote."""
