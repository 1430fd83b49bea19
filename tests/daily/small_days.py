"""What the tests of the daily update share."""

from pathlib import Path

FIRST = "first"


def write_lines(folder, lines):
    """Write images with their gt.txt."""
    folder.mkdir(parents=True)
    rows = []
    for number, (image, label) in enumerate(lines):
        image.save(folder / f"{number}.png")
        rows.append(f"{number}.png\t{label}\n")
    (folder / "gt.txt").write_text("".join(rows), encoding="utf-8")
    return folder


def log_of(place: Path, day: str) -> str:
    log = place / "models" / "days" / day / "log.txt"
    return log.read_text(encoding="utf-8") if log.exists() else ""
