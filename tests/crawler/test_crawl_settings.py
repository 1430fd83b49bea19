import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from crawling import CRAWLER
from hydra import compose, initialize_config_dir
from scrapy.settings import Settings

from hanline.errors import HanlineError
from hanline.text.charset import named_charset
from hanline.text.corpus import read_headlines
from hanline_crawler import settings as defaults
from hanline_crawler.cleaning import HeadlineCleaning
from hanline_crawler.crawl_run import cleaning_of, clock_of, store_of

KOREAN = frozenset(named_charset("korean").characters)


def settings(**changed):
    project = Settings()
    project.setmodule(defaults)
    # As the command line gives them: strings.
    project.setdict({name: str(value) for name, value in changed.items()}, priority="cmdline")
    return project


def test_the_default_settings_are_the_default_rules():
    assert cleaning_of(settings()) == HeadlineCleaning(charset=KOREAN)


SWITCHES = [f.name for f in fields(HeadlineCleaning) if isinstance(f.default, bool)]


@pytest.mark.parametrize("rule", SWITCHES)
def test_every_rule_is_switched_off_by_its_setting(rule):
    off = cleaning_of(settings(**{f"CLEAN_{rule.upper()}": False}))
    assert off == replace(HeadlineCleaning(charset=KOREAN), **{rule: False})


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("broken_encodings", "keep"),
        ("broken_encodings", "drop_character"),
        ("quotes", "curly"),
        ("quotes", "keep"),
        ("outside_charset", "drop_character"),
        ("outside_charset", "drop_headline"),
    ],
)
def test_every_choice_is_made_by_its_setting(rule, value):
    chosen = cleaning_of(settings(**{f"CLEAN_{rule.upper()}": value}))
    assert chosen == replace(HeadlineCleaning(charset=KOREAN), **{rule: value})


def test_the_charset_is_a_named_one_or_none():
    dtrb = frozenset(named_charset("dtrb_94").characters)
    assert cleaning_of(settings(CLEAN_CHARSET="dtrb_94")).charset == dtrb
    assert cleaning_of(settings(CLEAN_CHARSET="")).charset is None


def test_near_repeats_and_their_threshold(tmp_path):
    for changed, threshold in (
        ({}, 90.0),
        ({"NEAR_REPEATS_THRESHOLD": 95}, 95.0),
        ({"NEAR_REPEATS": False}, None),
    ):
        with store_of(settings(HEADLINES_FOLDER=tmp_path, **changed)) as store:
            assert store.near_threshold == threshold


@pytest.mark.parametrize("name", ["CLEAN_QUOTES", "CLEAN_OUTSIDE_CHARSET", "HEADLINES_CLOCK"])
def test_a_value_that_no_setting_has_is_refused(name):
    with pytest.raises(HanlineError, match="sometimes"):
        clock_of(settings(**{name: "sometimes"}))
        cleaning_of(settings(**{name: "sometimes"}))


def test_the_folder_is_the_same_from_every_working_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HANLINE_HEADLINES", str(tmp_path / "headlines"))
    (tmp_path / "headlines").mkdir()
    line = [sys.executable, "-m", "scrapy", "settings", "--get", "HEADLINES_FOLDER"]
    crawled = subprocess.run(line, cwd=CRAWLER, capture_output=True, text=True, encoding="utf-8")
    folder = Path(crawled.stdout.strip())
    assert folder == tmp_path / "headlines"
    with pytest.raises(HanlineError, match=r"corpus\.files=crawled: expected"):
        list(read_headlines(["crawled"]))
    (folder / "headlines.txt").write_text("가람은행 착공\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(CRAWLER.parent / "conf"), version_base=None):
        corpus = compose("train", overrides=["corpus=crawled"]).corpus
    assert list(read_headlines(corpus.files)) == ["가람은행 착공"]


def test_every_cleaning_setting_is_a_rule():
    names = {name for name in vars(defaults) if name.startswith("CLEAN_")}
    assert names == {f"CLEAN_{f.name.upper()}" for f in fields(HeadlineCleaning)}
