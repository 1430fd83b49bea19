"""The crawl's clock, and the times that sites write."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from hanline.errors import HanlineError

# Korea has had no daylight saving time since 1988; a fixed offset needs no time zone database,
# which Windows lacks.
KST = timezone(timedelta(hours=9), "KST")


class Clock:
    """What time it is.

    Args:
        fixed: an ISO 8601 time with its offset, at which this clock stands; None is the real time.

    Raises:
        HanlineError: ``fixed`` is no such time.
    """

    def __init__(self, fixed: str | None = None) -> None:
        self._fixed = None
        if fixed:
            try:
                self._fixed = datetime.fromisoformat(fixed)
            except ValueError as error:
                raise HanlineError(
                    f"HEADLINES_CLOCK is {fixed!r}: it must be a time such as "
                    "2026-03-02T09:00:00+09:00"
                ) from error
            if self._fixed.tzinfo is None:
                raise HanlineError(f"HEADLINES_CLOCK is {fixed!r}, without an offset: add +09:00")

    def now(self) -> datetime:
        """The time, in UTC."""
        return (self._fixed or datetime.now(UTC)).astimezone(UTC)

    def today(self) -> str:
        """The date in Korea, ``YYYY-MM-DD``: what a day's files are named by."""
        return self.now().astimezone(KST).date().isoformat()


def utc(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def korean(moment: datetime) -> str:
    """ISO 8601 in Korean time, to the second."""
    return moment.astimezone(KST).isoformat(timespec="seconds")


def published_on_card(text: str, now: datetime) -> str | None:
    """The time of an article from how a section page says it.

    Args:
        text: ``방금전``, ``12분전``, ``3시간전``, ``2일전``, ``어제`` or ``2026.09.18.``, which may
            go on with ``오후 3:05``.
        now: when the page was read.

    Returns:
        ISO 8601 in Korean time, as exact as the page is; None where it says nothing known.
    """
    compact = re.sub(r"\s+", "", text)
    if match := re.fullmatch(r"(\d+)(초|분|시간|일|주|개월|달)전", compact):
        return korean(now - int(match[1]) * _UNITS[match[2]])
    if compact in ("방금전", "방금"):
        return korean(now)
    if compact == "어제":
        return korean(now - timedelta(days=1))
    match = re.fullmatch(
        r"(\d{4})\.(\d{1,2})\.(\d{1,2})\.?(?:(오전|오후)?(\d{1,2}):(\d{2}))?", compact
    )
    if not match:
        return None
    year, month, day = (int(match[i]) for i in (1, 2, 3))
    hour, minute = int(match[5] or 0), int(match[6] or 0)
    if match[4]:
        hour = hour % 12 + (12 if match[4] == "오후" else 0)
    try:
        return korean(datetime(year, month, day, hour, minute, tzinfo=KST))
    except ValueError:
        return None


_UNITS = {
    "초": timedelta(seconds=1),
    "분": timedelta(minutes=1),
    "시간": timedelta(hours=1),
    "일": timedelta(days=1),
    "주": timedelta(weeks=1),
    # A site that says «3개월전» means no day.
    "개월": timedelta(days=30),
    "달": timedelta(days=30),
}


def published_in_feed(text: str) -> str | None:
    """The time of an article from a feed's or the search API's date.

    Args:
        text: RFC 822 (``Mon, 02 Mar 2026 09:00:00 +0900``) or ISO 8601. Without an offset it is
            Korean time, as Korean publishers mean it.

    Returns:
        ISO 8601 in Korean time; None where it is neither.
    """
    readers: tuple[Callable[[str], datetime], ...] = (
        parsedate_to_datetime,
        datetime.fromisoformat,
        lambda date: datetime.strptime(date, "%Y.%m.%d %H:%M:%S"),
    )
    for read in readers:
        try:
            moment = read(text.strip())
            return korean(moment if moment.tzinfo else moment.replace(tzinfo=KST))
        except (ValueError, OverflowError):
            continue
    return None
