"""``history.html``: the days of a registry as one page that needs no network; and TensorBoard."""

import shutil
from html import escape
from pathlib import Path
from typing import Any

from hanline.daily.day import DAYS, OUTCOME, read_json
from hanline.metrics.registry import metrics
from hanline.pretrained.model_registry import ModelRegistry
from hanline.system.files import write_text

PAGE, BOARD = "history.html", "tensorboard"
_WIDTH, _HEIGHT = 720, 160
_SHOWN_WORDS = 40
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Hanline: every day</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
table { border-collapse: collapse } td, th { border-bottom: 1px solid #ccc; padding: .3em .6em;
text-align: left; vertical-align: top } .promoted { color: #060 } .kept { color: #850 }
svg { background: #f8f8f8 } .number { text-align: right; font-variant-numeric: tabular-nums }
</style></head><body>
"""


def write_history(registry: ModelRegistry) -> Path:
    """Write the page and TensorBoard's files; return the page's path.

    Raises:
        HanlineError: the registry is damaged.
        OSError: they cannot be written.
    """
    days = outcomes(registry)
    registry.folder.mkdir(parents=True, exist_ok=True)
    page = registry.folder / PAGE
    write_text(page, _page(registry, days))
    _write_board(registry.folder / BOARD, days)
    return page


def outcomes(registry: ModelRegistry) -> dict[str, dict[str, Any]]:
    """Return what became of each day that has ended, by its name, in their order."""
    days = registry.folder / DAYS
    found = sorted(days.glob(f"*/{OUTCOME}.json")) if days.is_dir() else []
    read = [(file.parent.name, read_json(file)) for file in found]
    return dict(sorted(read, key=lambda item: str(item[1].get("ended"))))


def _page(registry: ModelRegistry, days: dict[str, dict[str, Any]]) -> str:
    parts = [_HEAD, "<h1>Every day</h1>", f"<p>In use: <b>{escape(registry.in_use())}</b></p>"]
    sets = list(dict.fromkeys(name for day in days.values() for name in day.get("gains", {})))
    for name in sets:
        parts += [f"<h2>{escape(name)}</h2>", _curve(days, name)]
    parts += ["<h2>Days</h2>", "<table><tr><th>day<th>headlines<th>new<th>new words and characters"]
    parts += ["<th>real lines", *(f"<th>{escape(name)}" for name in sets), "<th>outcome</tr>"]
    parts += [_row(name, day, sets) for name, day in reversed(days.items())]
    parts += ["</table><h2>In use</h2><table><tr><th>since<th>model<th>why</tr>"]
    parts += [
        f"<tr><td>{escape(use.since)}<td>{escape(use.model)}<td>{escape(use.why)}</tr>"
        for use in reversed(registry.uses())
    ]
    return "\n".join([*parts, "</table></body></html>\n"])


def _row(name: str, day: dict[str, Any], sets: list[str]) -> str:
    headlines, real = day["headlines"], day["real"]
    words = headlines.get("new_words", [])
    more = f" … {len(words)} words" if len(words) > _SHOWN_WORDS else ""
    new = f"{' '.join(words[:_SHOWN_WORDS])}{more}"
    if headlines.get("new_characters"):
        new += f" ({headlines['new_characters']})"
    refused = "".join(f"; {place}: {why}" for place, why in real["refused"].items())
    left_out = "".join(f"; {count} × {why}" for why, count in real["left_out"].items())
    verdict = "promoted" if day["promoted"] else "kept"
    cells = [
        f"<td>{escape(name)}",
        f'<td class="number">{headlines.get("all", 0):,}',
        f'<td class="number">{headlines["new"]:,}',
        f"<td>{escape(new)}",
        f"<td>{real['new']} new{escape(left_out + refused)}",
    ]
    for one in sets:
        gain = day.get("gains", {}).get(one)
        cells.append("<td>" if gain is None else f"<td>{escape(_values(gain, day['metric']))}")
    cells.append(f'<td class="{verdict}">{verdict}: {escape(day["why"])}')
    return f"<tr>{''.join(cells)}</tr>"


def _values(gain: dict[str, Any], metric: str) -> str:
    digits = metrics()[metric].decimals
    return (
        f"{gain['before']:.{digits}f} → {gain['after']:.{digits}f} "
        f"[{gain['low']:+.{digits}f}, {gain['high']:+.{digits}f}]"
    )


def _curve(days: dict[str, dict[str, Any]], dataset: str) -> str:
    """Draw the former and the new model's values of each day."""
    known = [(name, day["gains"][dataset], day) for name, day in days.items() if "gains" in day]
    if not known:
        return "<p>No figures yet.</p>"
    most = max(max(g["before"], g["after"]) for _, g, _ in known) or 1
    parts = [f'<svg width="{_WIDTH}" height="{_HEIGHT + 30}" role="img">']
    for number, (name, gain, day) in enumerate(known):
        x = 40 + number * (_WIDTH - 80) / max(1, len(known) - 1)
        y = {key: 10 + (_HEIGHT - 20) * (1 - gain[key] / most) for key in ("before", "after")}
        color = "#060" if day["promoted"] else "#850"
        title = escape(f"{name}: {_values(gain, day['metric'])}")
        parts.append(
            f"<g><title>{title}</title>"
            f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{y["before"]:.0f}" y2="{y["after"]:.0f}" '
            'stroke="#999"/>'
            f'<circle cx="{x:.0f}" cy="{y["before"]:.0f}" r="4" fill="#999"/>'
            f'<circle cx="{x:.0f}" cy="{y["after"]:.0f}" r="5" fill="{color}"/>'
            f'<text x="{x:.0f}" y="{_HEIGHT + 20}" font-size="11" text-anchor="middle">'
            f"{escape(name)}</text></g>"
        )
    shown = metrics()[known[0][2]["metric"]]
    parts.append(f'<text x="4" y="16" font-size="11">{shown.text(most)}</text></svg>')
    note = (
        f"{escape(shown.title)}: grey the model in use, green the one promoted, brown one kept out"
    )
    return "".join(parts) + f"<p>{note}</p>"


def _write_board(folder: Path, days: dict[str, dict[str, Any]]) -> None:
    """Write the days again as TensorBoard's scalars, a step for each day."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        for number, day in enumerate(days.values(), start=1):
            writer.add_scalar("headlines/all", day["headlines"].get("all", 0), number)
            writer.add_scalar("headlines/new", day["headlines"]["new"], number)
            writer.add_scalar("real/new", day["real"]["new"], number)
            writer.add_scalar("promoted", float(day["promoted"]), number)
            for dataset, gain in day.get("gains", {}).items():
                for key in ("before", "after"):
                    writer.add_scalar(f"{dataset}/{day['metric']}_{key}", gain[key], number)
