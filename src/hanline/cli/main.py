"""``hanline``: one command for each task."""

import importlib
import sys

from hanline import __version__
from hanline.cli.streams import escape_unencodable

COMMANDS = {
    "train": "trains a recogniser",
    "predict": "reads a folder of images",
    "evaluate": "measures a recogniser on images whose text is known",
    "synthesize": "draws texts of a corpus",
    "pack": "packs images and their gt.txt into an LMDB set",
    "import": "makes a checkpoint of weights of DTRB or EasyOCR",
    "export": "writes a checkpoint for DTRB, EasyOCR, ONNX or as safetensors",
}
# Commands that take no configuration.
OTHERS = {"from-dtrb": "tells, or runs, the command that equals one of DTRB's"}
# Python has taken this word for itself.
MODULES = {"import": "import_weights"}


def main() -> None:
    """Run the command that the first argument names."""
    escape_unencodable()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print("Usage: hanline COMMAND [key=value …]\n")
        for command, what in (COMMANDS | OTHERS).items():
            print(f"  {command:12s}{what}")
        print("\nhanline COMMAND --help tells all about one.")
        return
    if name == "--version":
        print(f"hanline {__version__}")
        return
    if name not in COMMANDS | OTHERS:
        from hanline.cli.config_check import nearest

        near = nearest(name, COMMANDS | OTHERS)
        sys.exit(
            f"error: there is no command {name!r}{near}; there are: {', '.join(COMMANDS | OTHERS)}"
        )
    del sys.argv[1]
    module = MODULES.get(name, name.replace("-", "_"))
    importlib.import_module(f"hanline.commands.{module}").main()


if __name__ == "__main__":
    main()
