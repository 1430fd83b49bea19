"""Check the words of prose: docstrings, comments, messages, yaml comments and documents.

    python tools/check_vocabulary.py            # the whole project
    python tools/check_vocabulary.py --count    # how many findings each package has
    python tools/check_vocabulary.py FILE…      # these files

The exit status is 1 if a banned word is found. ``tools/vocabulary_allowed.txt`` has the lines in
which one may stay, each with its reason. ``docs/glossary.md`` has the words to use.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ALLOWED = Path(__file__).with_name("vocabulary_allowed.txt")
FOLDERS = ("src", "conf", "crawler", "examples", "docs", "tools", "benchmarks")
SUFFIXES = (".py", ".yaml", ".yml", ".md")
# Documents in Korean, and what git does not have.
LEFT_OUT = (".ko.md", "/site/", "/.", "tools/check_vocabulary.py")

# A banned word or phrase, and the words to use.
BANNED = {
    r"tells?\b(?! apart)": "says, shows, prints",
    r"told\b(?! apart)": "said, given",
    r"heed(s|ed|ing)?": "follow, use",
    r"befall(s|en)?|befell": "happen to",
    r"mend(s|ed|ing)?": "fix, repair",
    r"anew": "again",
    r"besides": "also, in addition to",
    r"shall": "must, should",
    r"so many": "that many, the number of",
    r"such as there (is|are|was|were)": "all, if any",
    r"is no(?= (more|longer|other|better|worse|part|part of|such)\b)": "is not",
    r"of one's own\b": "custom, your own",
    r"stands": "is",
    r"what is": "the thing's name",
    r"as it is": "unchanged",
    r"whilst|amongst|hitherto|whereof|thereof|wherein|therein": "a plain word",
    # British spelling.
    r"\w*recognis\w*": "recogniz-",
    r"\w*normalis\w*": "normaliz-",
    r"\w*initialis\w*": "initializ-",
    r"\w*optimis(e|er|ed|es|ing|ation)\w*": "optimiz-",
    r"\w*quantis\w*": "quantiz-",
    r"\w*serialis\w*": "serializ-",
    r"\w*organis\w*": "organiz-",
    r"\w*summaris\w*": "summariz-",
    r"\w*colour\w*": "color",
    r"\w*neighbour\w*": "neighbor",
    r"\w*behaviour\w*": "behavior",
    r"\w*favour\w*": "favor",
    r"centre[sd]?": "center",
    r"licence[sd]?": "license",
    r"catalogue[sd]?": "catalog",
    r"learnt": "learned",
}
PATTERNS = [
    (re.compile(rf"(?<![\w./-])(?:{pattern})(?![\w-])", re.IGNORECASE), advice)
    for pattern, advice in BANNED.items()
]
# Code in Markdown and docstrings, and addresses, are not prose.
CODE = re.compile(r"``.*?``|`[^`\n]*`|https?://\S+|\[[^\]]*\]\([^)\s]*\)(?<=\))", re.DOTALL)
LINK_TARGET = re.compile(r"\]\([^)]*\)")


class Finding(NamedTuple):
    """A banned word: where it is, and what to use."""

    path: Path
    line: int
    word: str
    advice: str
    text: str


def main() -> int:
    """Print the findings; return the exit status."""
    parser = argparse.ArgumentParser(description="Check the words of prose.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", action="store_true", help="print numbers for each package")
    arguments = parser.parse_args()
    allowed = allowed_lines()
    files = [file.resolve() for file in arguments.files] or list(project_files())
    findings = [finding for file in files for finding in check(file)]
    findings = [
        finding
        for finding in findings
        if (finding.path.relative_to(ROOT).as_posix(), finding.text.strip()) not in allowed
    ]
    if arguments.count:
        packages = Counter("/".join(f.path.relative_to(ROOT).parts[:3]) for f in findings)
        for package, number in packages.most_common():
            print(f"{number:5d}  {package}")
    else:
        for finding in findings:
            place = f"{finding.path.relative_to(ROOT).as_posix()}:{finding.line}"
            print(f"{place}: {finding.word!r}: use {finding.advice}")
    if findings:
        print(f"{len(findings)} banned words; docs/glossary.md has the words to use")
    return bool(findings)


def project_files() -> Iterator[Path]:
    """Yield the files whose prose is checked."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("*.py")]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    for path in sorted(found):
        if not any(part in path.relative_to(ROOT.parent).as_posix() for part in LEFT_OUT):
            yield path


def check(path: Path) -> Iterator[Finding]:
    """Yield the banned words of a file."""
    for line, text in prose(path):
        for pattern, advice in PATTERNS:
            for match in pattern.finditer(text):
                yield Finding(path, line, match[0], advice, text)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of prose in a file, with their numbers from 1."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from python_prose(source)
    elif path.suffix == ".md":
        yield from markdown_prose(source)
    else:
        for number, line in enumerate(source.splitlines(), 1):
            comment = re.search(r"(?:^|\s)#(.*)", line)
            if comment:
                yield number, blank(comment[1])


def python_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments, docstrings and other texts with a space in them."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], blank(token.string)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from enumerate(blank(node.value).splitlines(), node.lineno)


def markdown_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines outside blocks of code."""
    inside = False
    for number, line in enumerate(blank(source).splitlines(), 1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            yield number, LINK_TARGET.sub("]", line)


def blank(text: str) -> str:
    """Replace code and addresses by spaces, and keep the lines."""
    if "```" in text:
        parts = re.split(r"(?m)^(\s*```.*)$", text)
        return "\n".join(part if "```" in part else blank(part) for part in parts)
    return CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def allowed_lines() -> set[tuple[str, str]]:
    """Return the path and the text of each line in which a banned word may stay."""
    lines = ALLOWED.read_text(encoding="utf-8").splitlines() if ALLOWED.is_file() else []
    entries = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {(path, text.strip()) for path, text, _reason in entries}


if __name__ == "__main__":
    sys.exit(main())
