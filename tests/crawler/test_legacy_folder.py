import subprocess
import sys

import pytest
from crawling import CRAWLER

from hanline_crawler.legacy_folder import date_in_name


@pytest.fixture
def original(tmp_path):
    folder = tmp_path / "original"
    folder.mkdir()
    everything = [
        "가람은행 착공",
        "[단독] 누리시 통과(종합)",
        "다온증권 반려",
        "누리시 통과",
        "[포토]",
    ]
    (folder / "all_headline.txt").write_text("\n".join(everything), encoding="utf-8")
    (folder / "headline_20240206.txt").write_bytes("누리시 통과\n미르건설 유치\n".encode("cp949"))
    (folder / "headline_2024-02-05.txt").write_text("가람은행 착공\n누리시 통과", encoding="utf-8")
    (folder / "notes.txt").write_text("not headlines", encoding="utf-8")
    return folder


def import_folder(original, folder):
    command = [sys.executable, "-m", "scrapy", "import_folder", str(original)]
    command += ["-s", f"HEADLINES_FOLDER={folder}"]
    return subprocess.run(
        command, cwd=CRAWLER, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_a_folder_of_the_original_is_taken_over_with_one_command(original, tmp_path, crawl):
    folder = tmp_path / "headlines"
    done = import_folder(original, folder)
    assert done.returncode == 0, done.stderr
    assert "4 headlines read from 3 files, 4 of them new" in done.stdout
    assert "nothing left: 1" in done.stdout
    everything = ["가람은행 착공", "누리시 통과", "다온증권 반려", "미르건설 유치"]
    assert (folder / "headlines.txt").read_text(encoding="utf-8").splitlines() == everything
    days = {"2024-02-05": everything[:2], "2024-02-06": everything[3:]}
    for day, headlines in days.items():
        for kind in (".txt", ".new.txt"):
            assert (folder / f"{day}{kind}").read_text(encoding="utf-8").splitlines() == headlines
    assert len(list(folder.glob("*.new.txt"))) == 2
    before = {path.name: path.read_bytes() for path in folder.glob("*.txt")}
    again = import_folder(original, folder)
    assert "0 of them new" in again.stdout
    assert {path.name: path.read_bytes() for path in folder.glob("*.txt")} == before
    # The next crawl goes on from there.
    crawled = crawl("naver_section", "-a", "sections=it", "-a", "pages=1", folder=folder)
    assert crawled.lines("headlines.txt")[:4] == everything
    assert crawled.lines("headlines.txt")[4:] == crawled.lines("2026-03-02.new.txt")


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    done = import_folder(tmp_path, tmp_path / "headlines")
    assert done.returncode == 1
    assert (
        "expected a folder with all_headline.txt" in done.stderr and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize(
    ("stem", "day"),
    [
        ("headline_20240205", "2024-02-05"),
        ("2024-02-05", "2024-02-05"),
        ("backup_2024_02_05_1530", "2024-02-05"),
        ("20240205_153000", "2024-02-05"),
        ("headline_240205", "2024-02-05"),
        ("headline_20241305", None),
        ("all_headline", None),
        ("v2", None),
    ],
)
def test_dates_in_names(stem, day):
    assert date_in_name(stem) == day
