"""Every day a better reader: take what is new, train, compare, promote."""
