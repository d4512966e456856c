"""Documents that cannot rot: what they name exists, and what exists is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "headrace"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CLI = ROOT / "docs" / "cli.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
LEFT_BEHIND = {".venv", ".venv-smollm", ".git", "out", "dist", "build", "node_modules"}
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not LEFT_BEHIND & set(path.relative_to(ROOT).parts)
)
HEADINGS = ("Context", "Drivers", "Options", "Outcome", "Good", "Bad")

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
PATH_IN_CODE = re.compile(
    r"`((?:src|bench|docs|examples|deploy|tests|requirements)/[\w./-]+\.[a-z]+)`"
)


def name_of(path: Path) -> str:
    """The path as messages show it."""
    return path.relative_to(ROOT).as_posix()


def headings(text: str) -> list[str]:
    """The headings of a Markdown text, without their marks; code blocks do not count."""
    return re.findall(r"^#+\s+(.+?)\s*$", FENCE.sub("", text), flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment by which a heading is linked."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def architecture() -> str:
    """The text of the map of the code."""
    if not ARCHITECTURE.exists():
        pytest.skip("docs/architecture.md is not written yet")
    return ARCHITECTURE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that exists, and a heading that is in it."""
    broken = []
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        file, _, fragment = target.partition("#")
        there = (path.parent / file) if file else path
        if not there.exists():
            broken.append(target)
        elif fragment and there.suffix == ".md":
            found = {anchor(h) for h in headings(there.read_text(encoding="utf-8"))}
            broken += [] if fragment in found else [target]
    assert not broken, f"{name_of(path)}: {broken}"


def test_architecture_names_files_that_exist() -> None:
    """The map has no road that is not there."""
    gone = [name for name in PATH_IN_CODE.findall(architecture()) if not (ROOT / name).exists()]
    assert not gone, f"docs/architecture.md names {gone}"


def test_architecture_names_every_module() -> None:
    """Every file of the package is on the map, by its name or by its folder's."""
    text = architecture()
    unnamed = [name_of(path) for path in sorted(PACKAGE.rglob("*.py")) if not named(path, text)]
    assert not unnamed, f"docs/architecture.md does not name {unnamed}"


def named(path: Path, text: str) -> bool:
    """Whether the text names the module: `store/items.py`, `items.py` or, in a list, `items`."""
    inside = path.relative_to(PACKAGE)
    if inside.name == "__init__.py":
        return len(inside.parts) == 1 or f"{inside.parent.name}/" in text
    return bool(re.search(rf"(?<![\w-]){re.escape(inside.stem)}(?![\w-])", text))


def test_there_are_decision_records() -> None:
    """The check below looks at something, and numbers follow each other."""
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    assert numbers


@pytest.mark.parametrize("path", DECISIONS, ids=name_of)
def test_decisions_tell_the_good_and_the_bad(path: Path) -> None:
    """A decision names what drove it, what else was possible, and what it costs."""
    found = headings(path.read_text(encoding="utf-8"))
    missing = [heading for heading in HEADINGS if heading not in found]
    assert not missing, f"{name_of(path)} lacks {missing}"


def commands() -> list[str]:
    """The commands that `headrace --help` lists."""
    if not (PACKAGE / "cli" / "main.py").exists():
        pytest.skip("the command line is not written yet")
    answer = subprocess.run(
        [sys.executable, "-c", "from headrace.cli.main import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"COLUMNS": "200", "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert answer.returncode == 0, answer.stderr
    listing = answer.stdout.split("Commands", 1)[-1]
    return re.findall(r"^[\W_]*?([a-z][a-z-]+)(?=\s{2,}|\s*│?\s*$)", listing, flags=re.MULTILINE)


def test_every_command_has_a_heading() -> None:
    """Each command of the program has its own heading in docs/cli.md."""
    found = commands()
    if not CLI.exists():
        pytest.skip("docs/cli.md is not written yet")
    assert found, "headrace --help lists no command"
    titles = " ".join(headings(CLI.read_text(encoding="utf-8")))
    missing = [name for name in found if not re.search(rf"(?<![\w-]){name}(?![\w-])", titles)]
    assert not missing, f"docs/cli.md has no heading for {missing}"
