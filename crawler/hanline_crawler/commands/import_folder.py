"""``scrapy import_folder FOLDER``: import the headlines of the original tool's folder."""

import argparse
import logging
from pathlib import Path

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from hanline.errors import HanlineError
from hanline_crawler.legacy_folder import import_legacy_folder

logger = logging.getLogger(__name__)


class Command(ScrapyCommand):
    """Import a folder of ``all_headline.txt`` and dated backups."""

    requires_project = True
    requires_crawler_process = False

    def syntax(self) -> str:
        """Return the arguments, for the help."""
        return "[options] <folder>"

    def short_desc(self) -> str:
        """Return one line about the command, for the help."""
        return "Import all_headline.txt and its dated backups"

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        """Import one folder."""
        if len(args) != 1:
            raise UsageError("name the folder that holds all_headline.txt")
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        assert self.settings is not None
        try:
            print(import_legacy_folder(Path(args[0]), self.settings))
        except HanlineError as error:
            logger.error("%s", error)
            self.exitcode = 1
