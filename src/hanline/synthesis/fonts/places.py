"""The places of fonts: the system's folders, and the files in Python packages."""

import importlib.util
import os
import sys
from pathlib import Path


def bundled_files() -> list[Path]:
    """Return the Korean fonts in Python packages: Noto Sans and Serif KR, Source Han Sans."""
    places = [("pylopdf_fonts_ko", "*.otf"), ("trdg", "fonts/cn/SourceHanSans-Normal.ttf")]
    files = []
    for package, pattern in places:
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or []:
            files += sorted(Path(folder).glob(pattern))
    return files


def system_folders() -> list[Path]:
    """Return this system's font folders, for all users and for this one; those that exist."""
    home = Path.home()
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
        folders = [
            Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts",
            local / "Microsoft" / "Windows" / "Fonts",
        ]
    elif sys.platform == "darwin":
        folders = [
            Path("/System/Library/Fonts"),
            Path("/Library/Fonts"),
            home / "Library" / "Fonts",
        ]
    else:
        shared = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
        own = os.environ.get("XDG_DATA_HOME", str(home / ".local" / "share"))
        folders = [Path(data) / "fonts" for data in [*shared, own] if data] + [home / ".fonts"]
    return [folder for folder in folders if folder.is_dir()]
