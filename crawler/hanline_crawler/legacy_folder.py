"""The original tool's folder: ``all_headline.txt`` and dated backups of it."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path

from scrapy.settings import BaseSettings

from hanline.errors import HanlineError
from hanline.messages import describe_counts
from hanline.system.progress import progress
from hanline_crawler.cleaning import HeadlineCleaning
from hanline_crawler.crawl_run import cleaning_of, output_folder, store_of
from hanline_crawler.decoding import decoded
from hanline_crawler.output import write_all, write_day

ALL = "all_headline.txt"
# 2024-02-05, 2024_02_05, 20240205 and, as the last resort, 240205.
_LONG_DATE = re.compile(r"(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)(?!\d{2}(?!\d))")
_SHORT_DATE = re.compile(r"(?<!\d)(\d\d)(\d\d)(\d\d)(?!\d)")
_CHUNK = 8192


def import_legacy_folder(folder: Path, settings: BaseSettings) -> str:
    """Import the headlines of a folder into the store, and write the files.

    Headlines arrive in the order of ``all_headline.txt``; a headline's day is that of the oldest
    backup that has it; those that no backup has belong to no day, and are older than all.
    Only exact repeats are left out, so that a corpus for earlier trainings stays whole. Near
    repeats of it are found from the next crawl on. A second import changes nothing.

    Args:
        folder: the original tool's folder; its files are read only. UTF-8 or EUC-KR.
        settings: the crawl's.

    Returns:
        What was done, in a sentence.

    Raises:
        HanlineError: the folder has no such files, or the store cannot be used.
    """
    backups = _backups(folder)
    files = [path for path in (folder / ALL,) if path.is_file()] + [path for _, path in backups]
    if not files:
        raise HanlineError(
            f"{folder}: expected a folder with {ALL} or text files with a date in their names. "
            "Name the folder of the original tool."
        )
    clean = cleaning_of(settings)
    first_days = _first_days(backups, clean)
    unusable: dict[str, str] = {}
    texts = dict.fromkeys(text for path in files for text in _cleaned(path, clean, unusable))
    rows = ((text, first_days.get(text, "")) for text in texts)
    days: set[str] = set()
    new = 0
    with store_of(settings) as store:
        with store.transaction(), progress("importing", len(texts)) as advance:
            while chunk := list(islice(rows, _CHUNK)):
                taken = store.add_texts(chunk)
                new += len(taken)
                days.update(taken.values())
                advance(len(chunk))
        with store.transaction():
            for day in sorted(days - {""}):
                write_day(store, output_folder(settings), day)
            write_all(store, output_folder(settings))
    return (
        f"{len(texts):,} headlines read from {len(files)} files, {new:,} of them new to the store; "
        f"dropped: {describe_counts(Counter(unusable.values()))}"
    )


def _backups(folder: Path) -> list[tuple[str, Path]]:
    found = []
    for path in sorted(folder.glob("*.txt")):
        day = date_in_name(path.stem)
        if path.name != ALL and day is not None:
            found.append((day, path))
    return sorted(found)


def date_in_name(stem: str) -> str | None:
    """Return the date in a file's name, ``YYYY-MM-DD``, or None without one."""
    for pattern, century in ((_LONG_DATE, ""), (_SHORT_DATE, "20")):
        for match in pattern.finditer(stem):
            try:
                return date(int(century + match[1]), int(match[2]), int(match[3])).isoformat()
            except ValueError:
                continue
    return None


def _first_days(backups: list[tuple[str, Path]], clean: HeadlineCleaning) -> dict[str, str]:
    days: dict[str, str] = {}
    for day, path in backups:
        for text in _cleaned(path, clean, {}):
            days.setdefault(text, day)
    return days


def _cleaned(path: Path, clean: HeadlineCleaning, unusable: dict[str, str]) -> Iterator[str]:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise HanlineError(f"cannot read {path}: {error}") from error
    for line in decoded(body).splitlines():
        if line.strip():
            cleaned = clean(line)
            if cleaned.dropped:
                unusable[line] = cleaned.dropped
            else:
                yield cleaned.text
