"""Parts of messages that several packages write."""

from collections import Counter


def describe_counts(counts: Counter[str]) -> str:
    """Render counts by reason, the largest first, as one line."""
    parts = [f"{reason}: {count}" for reason, count in counts.most_common() if count]
    return ", ".join(parts) or "nothing"
