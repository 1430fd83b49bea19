"""The words behind a command: the one place that edits ``sys.argv``.

Hydra reads its arguments from there, and Lightning starts its other processes by it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path


def arguments() -> list[str]:
    """Return the words behind the command."""
    return sys.argv[1:]


def set_arguments(words: Sequence[str], program: str | None = None) -> None:
    """Replace the words behind the command, and the program if one is given."""
    sys.argv = [program or sys.argv[0], *words]
    if program:
        # Under python -m, Lightning would start the module that it names, not the program.
        sys.modules["__main__"].__spec__ = None


def with_keys(words: Sequence[str], positional: Sequence[str]) -> list[str]:
    """Return the words, the first of them as ``key=value`` if they have no key.

    Args:
        words: the words behind the command.
        positional: the keys of the first words, in their order.
    """
    given = list(words)
    for place, key in enumerate(positional[: len(given)]):
        word = given[place]
        if word.startswith("-") or ("=" in word and not Path(word).is_file()):
            break
        given[place] = f"{key}={word}"
    return given
