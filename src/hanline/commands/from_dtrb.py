"""``hanline from-dtrb``: prints or runs the command that equals one of DTRB's."""

import os
import shutil
import subprocess
import sys

from hanline.cli.command_line import arguments
from hanline.cli.hydra_app import fail
from hanline.errors import HanlineError
from hanline.formats.dtrb.cli import SCRIPTS, Translation, translate
from hanline.system import files as system_files

USAGE = f"""hanline from-dtrb: prints or runs the command that equals one of DTRB's.

Usage: hanline from-dtrb [--run] SCRIPT [options of DTRB]

SCRIPT is one of {", ".join(SCRIPTS)}.
With --run, the commands also run. Below them is printed how each option was translated."""


def main() -> None:
    """Translate the command line, print it, and run it with ``--run``."""
    words = arguments()
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return
    try:
        translation = translate([word for word in words if word != "--run"])
        for line in translation.shell():
            print(line)
        for note in translation.notes:
            print(f"# {note}")
        if "--run" in words:
            sys.stdout.flush()
            run_all(translation)
    except HanlineError as error:
        fail(str(error))


def run_all(translation: Translation) -> None:
    """Write the files of a translation and run its commands. The first failure ends it.

    Raises:
        HanlineError: a file cannot be written.
    """
    try:
        for path, text in translation.files.items():
            if path.exists() and path.read_bytes().rstrip(b"\r\n") != text.encode():
                raise HanlineError(f"{path} exists already, with other characters: move it away")
            system_files.write_text(path, text)
        for source, target in translation.copies:
            if target.exists() and target.read_bytes() != source.read_bytes():
                raise HanlineError(f"{target} exists already, and is not {source}")
            shutil.copyfile(source, target)
    except OSError as error:
        raise HanlineError(f"cannot write {error.filename}: {error}") from error
    for command in translation.commands:
        done = subprocess.run(
            [sys.executable, "-m", "hanline.cli.main", *command[1:]],
            env=os.environ | translation.environment,
            check=False,
        )
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
