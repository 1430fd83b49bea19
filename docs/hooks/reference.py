"""A hook of mkdocs: one page of reference for each package, made of its docstrings."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Link, Navigation, Section
from mkdocs.structure.pages import Page

SOURCE = Path(__file__).parents[2] / "src"
FOLDER = "reference"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for uri, content in pages().items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """List the pages below the reference's overview."""
    overview = files.get_file_from_path(f"{FOLDER}/index.md")
    if overview is None or overview.page is None:
        return nav
    children: list[Page | Section | Link] = [overview.page]
    for uri in sorted(pages()):
        file = files.get_file_from_path(uri)
        if file is not None and file is not overview:
            children.append(file.page or Page(None, file, config))
    section = Section("Reference", children)
    for child in children:
        child.parent = section
    nav.items = [*nav.items[:-1], section]
    return nav


def pages() -> dict[str, str]:
    """Return the content of each page by its path."""
    packages = sorted(
        folder for folder in (SOURCE / "hanline").iterdir() if (folder / "__init__.py").is_file()
    )
    links = "\n".join(f"- [`hanline.{folder.name}`]({folder.name}.md)" for folder in packages)
    found = {
        f"{FOLDER}/index.md": (
            "# Reference\n\nMade of the docstrings. `hanline.Reader` and the contracts in "
            "[Extending](../extending.md) are public. Everything else may change.\n\n"
            f"{links}\n\n::: hanline\n    options:\n      show_submodules: false\n"
        )
    }
    for folder in packages:
        modules = [
            ".".join(path.with_suffix("").relative_to(SOURCE).parts)
            for path in sorted(folder.rglob("*.py"))
            if path.name != "__init__.py"
        ]
        parts = [
            f"# {folder.name}\n\n::: hanline.{folder.name}\n    options:\n"
            "      show_root_heading: false\n"
        ]
        parts += [
            f"\n## {module.partition('.')[2]}\n\n::: {module}\n    options:\n"
            "      show_root_heading: false\n      heading_level: 3\n"
            for module in modules
        ]
        found[f"{FOLDER}/{folder.name}.md"] = "".join(parts)
    return found
