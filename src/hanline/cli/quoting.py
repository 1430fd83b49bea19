"""Arguments of the command line that Hydra would misread, in quotes."""

from typing import get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException


def literal(argument: str, settings: type) -> str:
    """Quote the value of an argument of the command line if Hydra would misread it.

    Hydra's grammar has no Hangul, no brackets and no second ``=``, which names of files may have.
    A folder or a choice may be named 2024, which Hydra takes for a number.

    Args:
        settings: a dataclass of the command's own keys. Those of type ``str`` take any text.
    """
    key, equals, value = argument.partition("=")
    if not equals or key.startswith("-"):
        return argument
    parsed = _parsed(argument)
    if parsed is None:
        return f"{key}={_quoted(value)}"
    hints = get_type_hints(settings)
    # A key that is neither the command's own nor inside a group is the name of a group.
    text = hints[key] in (str, str | None) if key in hints else "." not in key
    if text and not parsed.is_sweep_override():
        not_text = bool | int | float if key in hints else bool | int | float | None
        if isinstance(parsed.value(), not_text):
            return f"{key}={_quoted(value)}"
    return argument


def _parsed(override: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def _quoted(value: str) -> str:
    if value.startswith("[") and value.endswith("]") and not set(value[1:-1]) & set("[]{}'\""):
        items = (item.strip() for item in value[1:-1].split(","))
        return f"[{','.join(item if _parsed(f'x={item}') else _quoted(item) for item in items)}]"
    if value[:1] in ("[", "{", "'", '"'):
        return value  # The user means Hydra's own syntax: Hydra names the error.
    quoted: str = QuotedString(value, Quote.single).with_quotes()
    return quoted
