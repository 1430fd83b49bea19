"""``hanline``: one command for each task."""

import importlib
import sys

from rapidfuzz import process

from hanline import __version__

COMMANDS = {
    "train": "trains a recogniser",
    "predict": "reads a folder of images",
    "evaluate": "measures a recogniser on images whose text is known",
    "synthesize": "draws texts of a corpus",
    "pack": "packs images and their gt.txt into an LMDB set",
}


def main() -> None:
    """Run the command that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print("Usage: hanline COMMAND [key=value …]\n")
        for command, what in COMMANDS.items():
            print(f"  {command:12s}{what}")
        print("\nhanline COMMAND --help tells all about one.")
        return
    if name == "--version":
        print(f"hanline {__version__}")
        return
    if name not in COMMANDS:
        near = process.extractOne(name, COMMANDS, score_cutoff=60)
        hint = f": did you mean {near[2]}?" if near else ""
        sys.exit(f"error: there is no command {name!r}{hint} There are: {', '.join(COMMANDS)}")
    del sys.argv[1]
    importlib.import_module(f"hanline.tasks.{name}").main()


if __name__ == "__main__":
    main()
