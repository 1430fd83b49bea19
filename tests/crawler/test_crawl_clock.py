from datetime import datetime

import pytest

from hanline.errors import HanlineError
from hanline_crawler.clock import Clock, published_in_feed, published_on_card

NOW = datetime.fromisoformat("2026-03-02T00:10:30+00:00")  # 9:10:30 in Korea


@pytest.mark.parametrize(
    ("card", "published"),
    [
        ("방금전", "2026-03-02T09:10:30+09:00"),
        ("방금 전", "2026-03-02T09:10:30+09:00"),
        ("40초전", "2026-03-02T09:09:50+09:00"),
        ("12분전", "2026-03-02T08:58:30+09:00"),
        ("3시간전", "2026-03-02T06:10:30+09:00"),
        ("10시간 전", "2026-03-01T23:10:30+09:00"),  # the day before
        ("2일전", "2026-02-28T09:10:30+09:00"),
        ("어제", "2026-03-01T09:10:30+09:00"),
        ("1주 전", "2026-02-23T09:10:30+09:00"),
        ("2025.09.18.", "2025-09-18T00:00:00+09:00"),
        ("2025.09.18. 오후 3:05", "2025-09-18T15:05:00+09:00"),
        ("2025.9.8. 오전 12:05", "2025-09-08T00:05:00+09:00"),
        ("2025.02.30.", None),
        ("", None),
        ("구독", None),
    ],
)
def test_times_on_cards(card, published):
    assert published_on_card(card, NOW) == published


@pytest.mark.parametrize(
    ("feed", "published"),
    [
        ("Mon, 02 Mar 2026 09:00:00 +0900", "2026-03-02T09:00:00+09:00"),
        ("Mon, 02 Mar 2026 00:00:00 GMT", "2026-03-02T09:00:00+09:00"),
        ("2026-03-02T00:00:00Z", "2026-03-02T09:00:00+09:00"),
        ("2026-03-02T09:00:00+09:00", "2026-03-02T09:00:00+09:00"),
        ("2026-03-02 09:00:00", "2026-03-02T09:00:00+09:00"),  # without an offset: Korean time
        ("2026.03.02 09:00:00", "2026-03-02T09:00:00+09:00"),
        ("soon", None),
        ("", None),
    ],
)
def test_dates_in_feeds(feed, published):
    assert published_in_feed(feed) == published


def test_the_day_is_the_korean_one():
    assert Clock("2026-03-01T15:00:00+00:00").today() == "2026-03-02"
    assert Clock("2026-03-01T14:59:59+00:00").today() == "2026-03-01"
    assert abs((Clock().now() - datetime.now().astimezone()).total_seconds()) < 5


@pytest.mark.parametrize("wrong", ["yesterday", "2026-03-02T09:00:00"])
def test_a_wrong_time_is_refused(wrong):
    with pytest.raises(HanlineError, match="HEADLINES_CLOCK"):
        Clock(wrong)
