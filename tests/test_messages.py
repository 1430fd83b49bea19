from collections import Counter

from hanline.messages import describe_counts


def test_counts_are_described_by_reason_with_the_largest_first():
    assert describe_counts(Counter()) == "nothing"
    assert describe_counts(Counter(a=1, b=3, c=0)) == "b: 3, a: 1"
