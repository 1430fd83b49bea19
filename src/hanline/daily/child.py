"""A command of Hanline in a process of its own, which ends when the process that started it does.

``python -m hanline.daily.child PARENT COMMAND words…``
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hanline.errors import HanlineError

_SHOWN = 15


def run_command(command: str, words: Sequence[str], log: Path) -> None:
    """Run a command, and append what it prints to a file.

    Raises:
        HanlineError: it failed; the message has its last lines.
    """
    program = [sys.executable, "-m", "hanline.daily.child", str(os.getpid()), command]
    with log.open("ab") as file:
        file.write(f"\n$ hanline {command} {' '.join(words)}\n".encode())
        file.flush()
        began = file.tell()
        status = subprocess.run(
            [*program, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            check=False,
        ).returncode
    if status:
        with log.open("rb") as file:
            file.seek(began)
            printed = file.read().decode("utf-8", "replace").splitlines()
        last = "\n  ".join(printed[-_SHOWN:])
        raise HanlineError(f"hanline {command} ended with {status}:\n  {last}\n  (all in {log})")


def main() -> None:
    """Run the command that the arguments name."""
    parent, command, *words = sys.argv[1:]
    from hanline.training.distributed import end_with_first_process

    end_with_first_process(int(parent))
    from hanline.cli import commands
    from hanline.cli.command_line import set_arguments

    set_arguments(words)
    commands.command(command)()


if __name__ == "__main__":
    main()
