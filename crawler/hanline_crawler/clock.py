"""The crawl's clock, and the times that sites write."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from hanline.errors import HanlineError

# Korea has had no daylight saving time since 1988; a fixed offset needs no time zone database,
# which Windows lacks.
KST = timezone(timedelta(hours=9), "KST")
_LONGEST_DATE = 100  # characters
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


class Clock:
    """The crawl's clock.

    Args:
        fixed: The ISO 8601 time, with its offset, that the clock always shows. If None, it shows
            the real time.

    Raises:
        HanlineError: ``fixed`` is not such a time.
    """

    def __init__(self, fixed: str | None = None) -> None:
        self._fixed = None
        if fixed:
            try:
                self._fixed = datetime.fromisoformat(fixed)
            except ValueError as error:
                raise HanlineError(
                    f"HEADLINES_CLOCK={fixed}: expected a time like 2026-03-02T09:00:00+09:00. "
                    "Change the setting, or leave it out for the real time."
                ) from error
            if self._fixed.tzinfo is None:
                raise HanlineError(
                    f"HEADLINES_CLOCK={fixed}: expected a time with an offset. Add +09:00."
                )

    def now(self) -> datetime:
        """Return the time in UTC."""
        return (self._fixed or datetime.now(UTC)).astimezone(UTC)

    def today(self) -> str:
        """Return the date in Korea, ``YYYY-MM-DD``, by which a day's files are named."""
        return self.now().astimezone(KST).date().isoformat()


def utc(moment: datetime) -> str:
    """Format a time as ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def korean(moment: datetime) -> str:
    """Format a time as ISO 8601 in Korean time, to the second."""
    return moment.astimezone(KST).isoformat(timespec="seconds")


def published_on_card(text: str, now: datetime) -> str | None:
    """Work out an article's time from how a section page writes it.

    Args:
        text: ``방금전``, ``12분전``, ``3시간전``, ``2일전``, ``어제`` or ``2026.09.18.``, which may
            go on with ``오후 3:05``.
        now: When the page was read.

    Returns:
        ISO 8601 in Korean time, as exact as the page is. None if the text is none of these, or
        lies outside the calendar.
    """
    try:
        return _published_on_card(text, now)
    except (ValueError, OverflowError):
        return None


def published_in_feed(text: str) -> str | None:
    """Work out an article's time from the date of a feed or of the search API.

    Args:
        text: RFC 822 (``Mon, 02 Mar 2026 09:00:00 +0900``) or ISO 8601. Without an offset it is
            Korean time, as Korean publishers mean it.

    Returns:
        ISO 8601 in Korean time. None if the text is neither.
    """
    for read in (_read_rfc_822, datetime.fromisoformat, _read_dotted):
        try:
            moment = read(text[:_LONGEST_DATE].strip())
            return korean(moment if moment.tzinfo else moment.replace(tzinfo=KST))
        except (ValueError, OverflowError):
            continue
    return None


def _published_on_card(text: str, now: datetime) -> str | None:
    compact = re.sub(r"\s+", "", text[:_LONGEST_DATE])
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
    return korean(datetime(year, month, day, hour, minute, tzinfo=KST))


def _read_rfc_822(text: str) -> datetime:
    try:
        return parsedate_to_datetime(text)
    except (TypeError, IndexError) as error:  # what the parser raises for some odd texts
        raise ValueError(f"{text!r} is not a date") from error


def _read_dotted(text: str) -> datetime:
    return datetime.strptime(text, "%Y.%m.%d %H:%M:%S")
