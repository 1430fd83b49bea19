"""``readings.html``: readings as one page that needs no network."""

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image
from rapidfuzz.distance import Editop, Levenshtein

from hanline.data.images import ImageError, decode_image
from hanline.errors import HanlineError
from hanline.inference.reader import Reading
from hanline.system import files

# Pixels of height of the pictures on the page, and of width, beyond which they are made smaller.
_HEIGHT, _WIDTH = 64, 2048
_TEMPLATE = Path(__file__).with_name("readings_page.html")
_SCRIPT = Path(__file__).with_name("readings_page.js")


class ReadingsPage:
    """Collects readings, and writes them as a page.

    The pictures are kept as small JPEG files, a few KB each.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []

    def add(self, name: str, image: Path | bytes, reading: Reading, label: str | None) -> None:
        """Add a reading.

        Args:
            name: the image's, as it is shown.
            image: the image file, or its content.
            reading: what was read in it.
            label: its text; None if it is unknown.
        """
        edits: list[Editop] = []
        if label is not None and not reading.problem:
            edits = list(Levenshtein.editops(label, reading.text))
        picture, width, height = _picture(image)
        row = {
            "path": name,
            # The folder or the dataset that it is of.
            "set": name.rpartition("#" if "#" in name.rpartition("/")[2] else "/")[0],
            "text": reading.text,
            "label": label,
            "confidence": reading.confidence,
            "problem": reading.problem,
            "image": picture,
            "width": width,
            "height": height,
            "others": reading.others,
            # What was left out is marked on the letter after it, or on the last one.
            "wrong": sorted({max(0, min(edit.dest_pos, len(reading.text) - 1)) for edit in edits}),
            "confusions": [
                (
                    label[edit.src_pos] if label and edit.tag != "insert" else "",
                    reading.text[edit.dest_pos] if edit.tag != "delete" else "",
                )
                for edit in edits
            ],
            "parts": reading.parts
            and [(part.confidence, part.alternatives) for part in reading.parts.characters],
        }
        self._rows.append(row)

    def write(self) -> None:
        """Write the page; it appears whole or not at all.

        Raises:
            HanlineError: it cannot be written.
        """
        # In a script element nothing but "<" can end it or begin a comment.
        data = json.dumps(self._rows, ensure_ascii=False).replace("<", "\\u003c")
        script = _SCRIPT.read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        before, rest = _TEMPLATE.read_text(encoding="utf-8").split("@DATA@")
        page = "".join((before.replace("@HASH@", digest), data, rest.replace("@SCRIPT@", script)))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A path may have bytes that are no UTF-8.
            files.write_bytes(self.path, page.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise HanlineError(
                f"output={self.path.parent}: expected a folder for {self.path.name}; cannot write "
                f"it: {error.strerror}. Make room, or name another folder"
            ) from error


def _picture(image: Path | bytes) -> tuple[str, int, int]:
    """Return an image as a data URI, and its width and height; "" if it cannot be decoded."""
    try:
        picture = decode_image(image)
    except ImageError:
        return "", 0, 0
    picture.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=80)
    uri = "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
    return uri, *picture.size
