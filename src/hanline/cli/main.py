"""``hanline``: one command for each task."""

import sys

from hanline import __version__
from hanline.cli import commands
from hanline.cli.command_line import arguments, set_arguments
from hanline.cli.streams import escape_unencodable, failures_to_print


def main() -> None:
    """Run the command that the first argument names."""
    escape_unencodable()
    with failures_to_print():
        _run()


def _run() -> None:
    name, *words = arguments() or ["--help"]
    if name in ("-h", "--help"):
        print("Usage: hanline COMMAND [key=value …]\n")
        width = max(map(len, commands.names())) + 2
        for command in commands.names():
            print(f"  {command:{width}s}{commands.describe(command)}")
        print("\nhanline COMMAND --help shows all settings of a command.")
        return
    if name == "--version":
        print(f"hanline {__version__}")
        return
    known = commands.names()
    if name not in known:
        from hanline.cli.suggestions import nearest

        sys.exit(
            f"error: there is no command {name!r}{nearest(name, known)}; "
            f"there are: {', '.join(known)}"
        )
    set_arguments(words)
    commands.command(name)()


if __name__ == "__main__":
    main()
