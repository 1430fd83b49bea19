"""The place of the crawler's headlines: the crawler writes it, and ``corpus=crawled`` reads it."""

import os
from pathlib import Path

import platformdirs

FOLDER_VARIABLE = "HANLINE_HEADLINES"
ALL_HEADLINES = "headlines.txt"


def headlines_folder() -> Path:
    """Return the folder of crawled headlines, the same from every working directory.

    It is the environment's ``HANLINE_HEADLINES``. If that is unset or empty, it is ``headlines`` in
    the user's data folder for Hanline.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_data_path("hanline", appauthor=False) / "headlines"


def headlines_file() -> Path:
    """Return the file with every crawled headline once, in the order of arrival."""
    return headlines_folder() / ALL_HEADLINES
