"""The exit statuses of a run."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit status of ``scrapy crawl``. If several apply, the least of those above 0."""

    COMPLETE = 0  # every page was read
    DEFECT = 1  # a defect with a traceback in the log, or the disk cannot be written
    USAGE = 2  # a wrong argument or setting
    KEYS_REFUSED = 3  # the search API's keys are missing or refused
    ROBOTS_REFUSED = 4  # robots.txt refuses, or could not be read
    LAYOUT_CHANGED = 5  # a page without headlines; it is kept for inspection
    QUOTA_SPENT = 6  # the search API's daily quota is used up, or it says «too fast»
    PAGES_LOST = 7  # some pages could not be read; the same job folder goes on there
    INTERRUPTED = 130  # Ctrl-C or SIGTERM; the same job folder goes on
