import subprocess
import sys

from crawling import ENVIRONMENT, EXAMPLES


def test_the_demonstration_shows_two_days(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "crawl_demo.py"),
            "--pages",
            "2",
            "--days",
            "3",
            "--folder",
            str(tmp_path),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("outcome: complete") == 3
    assert "0 of them called new" in done.stdout and "has each once: yes" in done.stdout
    first = (tmp_path / "2026-03-02.txt").read_text(encoding="utf-8").splitlines()
    new = (tmp_path / "2026-03-03.new.txt").read_text(encoding="utf-8").splitlines()
    assert len(first) > 300 and len(new) > 150 and not set(first) & set(new)
