"""Tidiness is a test: the habits of this code base, read from its syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "headrace"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FUNCTION_LINES_MAX = 60
CLASS_LINES_MAX = 300
FILE_LINES_MAX = 400

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
IMPLEMENTATIONS = {"policies", "providers", "stages", "caches", "gates", "sources"}
VENDOR_SDKS = {
    "litellm",
    "openai",
    "replicate",
    "fal_client",
    "cohere",
    "together",
    "google",
}
# File (relative to the package) -> what it may import all the same, and why.
SDK_ALLOWED = {
    # It signs and exchanges keys for access tokens, and makes no call that is paid for.
    "providers/google/account.py": ("google.auth", "google.oauth2"),
}

# Calls that ask the time or sleep. Only the clock may: everybody else is given one.
CLOCK_CALLS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
    ("time", "monotonic_ns"),
    ("time", "perf_counter"),
    ("time", "sleep"),
    ("asyncio", "sleep"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}
# File (relative to the package) -> why it may ask the time itself.
CLOCK_ALLOWED = {
    "clock.py": "it is the clock",
}

SQL_START = re.compile(
    r"^\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\S+\s+SET\s|DELETE\s+FROM\s|CREATE\s|ALTER\s|DROP\s|COPY\s)"
)
# File or folder (relative to the package) -> why its SQL may stand in Python.
SQL_ALLOWED = {
    "store/database.py": "its remedies show an operator which statements to type",
    "store/migrate.py": "the migration runner has to speak before any .sql file is read",
    "store/migrations/": "the same",
    "store/embedded/": "CREATE DATABASE and settings cannot take parameters",
}


def relative(path: Path) -> str:
    """The path as messages show it, inside the package where it is."""
    root = PACKAGE if path.is_relative_to(PACKAGE) else ROOT
    return path.relative_to(root).as_posix()


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def sources(paths: list[Path]) -> pytest.MarkDecorator:
    """Run a test once for each file, under its short name."""
    return pytest.mark.parametrize("path", paths, ids=relative)


def functions(module: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, at any depth."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(node: ast.stmt) -> int:
    """How many lines a statement spans, its decorators not counted."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def imported(module: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports, at any depth."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def call_name(node: ast.Call) -> tuple[str, str] | None:
    """The last two parts of a dotted call: `datetime.datetime.now()` is ("datetime", "now")."""
    func = node.func
    if not isinstance(func, ast.Attribute):
        return None
    owner = func.value
    if isinstance(owner, ast.Name):
        return owner.id, func.attr
    if isinstance(owner, ast.Attribute):
        return owner.attr, func.attr
    return None


def clock_uses(path: Path) -> list[str]:
    """Where a file asks the time or sleeps by itself, also by names imported bare."""
    module = tree(path)
    bare = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module, alias.name) in CLOCK_CALLS
    }
    found = []
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        name = call_name(node)
        if name in CLOCK_CALLS:
            found.append(f"line {node.lineno}: {'.'.join(name)}")
        elif isinstance(node.func, ast.Name) and node.func.id in bare:
            found.append(f"line {node.lineno}: {node.func.id}")
    return found


def test_there_is_code_to_read() -> None:
    """The checks below look at something."""
    assert SOURCES, f"no Python file under {PACKAGE}"


@sources(SOURCES)
def test_names_say_one_duty(path: Path) -> None:
    """No drawer for leftovers: a file or folder is named for what it does."""
    parts = set(path.relative_to(PACKAGE).with_suffix("").parts)
    assert not parts & VAGUE_NAMES, f"{relative(path)}: name it for its one duty"


@sources(SOURCES)
def test_sizes_stay_small(path: Path) -> None:
    """Functions, classes and files stay small enough to be read in one go."""
    module = tree(path)
    found = [
        f"{node.name} (line {node.lineno}): {lines_of(node)} lines"
        for node in functions(module)
        if lines_of(node) > FUNCTION_LINES_MAX
    ]
    found += [
        f"class {node.name} (line {node.lineno}): {lines_of(node)} lines"
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and lines_of(node) > CLASS_LINES_MAX
    ]
    length = len(path.read_text(encoding="utf-8").splitlines())
    if length > FILE_LINES_MAX:
        found.append(f"the file: {length} lines")
    assert not found, f"{relative(path)}: split {found}"


@sources(SOURCES)
def test_public_names_are_documented(path: Path) -> None:
    """A module opens with what it is for; every public class and function says what it does."""
    module = tree(path)
    found = [] if ast.get_docstring(module) else ["the module"]
    found += list(undocumented(module))
    assert not found, f"{relative(path)}: no docstring on {found}"


def undocumented(node: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Public classes, functions and methods without a docstring; overloads and setters pass."""
    for child in node.body:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if child.name.startswith("_") or any(is_repeat(d) for d in child.decorator_list):
            continue
        if not ast.get_docstring(child):
            yield f"{child.name} (line {child.lineno})"
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child)


def is_repeat(decorator: ast.expr) -> bool:
    """Whether the decorated function repeats one that is documented elsewhere."""
    name = ast.unparse(decorator)
    return name.endswith(("overload", "override", ".setter", ".deleter"))


@sources([path for path in SOURCES if "testing" not in path.parts])
def test_only_the_clock_asks_the_time(path: Path) -> None:
    """Time is an argument: code that sleeps or asks the hour cannot be tested by hand."""
    if relative(path) in CLOCK_ALLOWED:
        return
    found = clock_uses(path)
    assert not found, f"{relative(path)}: ask the clock object instead: {found}"


@sources([path for path in TESTS if "process" not in path.relative_to(ROOT).parts])
def test_tests_do_not_sleep(path: Path) -> None:
    """Only tests of real processes may wait in real time; others move the clock by hand."""
    found = [use for use in clock_uses(path) if use.endswith("sleep") and not yields(path, use)]
    assert not found, f"{relative(path)}: {found}"


def yields(path: Path, use: str) -> bool:
    """Whether the sleep is `sleep(0)`: giving way to other tasks is not waiting."""
    line = int(use.split(":", maxsplit=1)[0].removeprefix("line "))
    return "sleep(0)" in path.read_text(encoding="utf-8").splitlines()[line - 1]


@sources(SOURCES)
def test_broad_excepts_say_why(path: Path) -> None:
    """Catching everything hides the one message needed at 3 a.m., so it needs a reason."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.ExceptHandler) or not is_broad(node.type):
            continue
        near = "\n".join(lines[max(0, node.lineno - 2) : node.lineno + 1])
        if not re.search(r"# broad: \S+", near):
            found.append(node.lineno)
    assert not found, f"{relative(path)}: broad except without `# broad: why` at lines {found}"


def is_broad(caught: ast.expr | None) -> bool:
    """Whether an except clause catches everything."""
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(n, ast.Name) and n.id in {"Exception", "BaseException"} for n in names)


@sources([path for path in SOURCES if "cli" not in path.relative_to(PACKAGE).parts])
def test_only_the_command_line_prints(path: Path) -> None:
    """Everything else returns, raises, or emits an event."""
    found = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not found, f"{relative(path)}: print at lines {found}"


@sources(SOURCES)
def test_sql_lives_in_sql_files(path: Path) -> None:
    """A statement has a file and a name; none is put together from strings."""
    if any(relative(path).startswith(allowed) for allowed in SQL_ALLOWED):
        return
    found = [
        f"line {node.lineno}: {node.value.strip()[:40]}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SQL_START.match(node.value)
    ]
    assert not found, f"{relative(path)}: move into a .sql file: {found}"


@sources(SOURCES)
def test_only_the_engine_names_implementations(path: Path) -> None:
    """A room is entered through its contract; engine.py alone knows who is behind the door."""
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if room in {"engine", "testing"}:
        return
    found = [
        f"line {line}: {name}"
        for line, name in imported(tree(path))
        if (parts := name.split("."))[0] == "headrace"
        and len(parts) > 1
        and parts[1] in IMPLEMENTATIONS - {room}
    ]
    assert not found, f"{relative(path)}: {found}"


@sources([path for path in SOURCES if "testing" not in path.parts])
def test_production_does_not_import_testing(path: Path) -> None:
    """What helps tests never runs for a customer."""
    found = [line for line, name in imported(tree(path)) if name.startswith("headrace.testing")]
    assert not found, f"{relative(path)}: imports headrace.testing at lines {found}"


@sources(SOURCES)
def test_no_vendor_sdk(path: Path) -> None:
    """Vendor kits retry paid calls behind our back; adapters speak HTTP themselves."""
    found = [
        f"line {line}: {name}"
        for line, name in imported(tree(path))
        if name.split(".")[0] in VENDOR_SDKS
        and not any(f"{name}.".startswith(f"{one}.") for one in SDK_ALLOWED.get(relative(path), ()))
    ]
    assert not found, f"{relative(path)}: {found}"


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "smollm.txt", "smollm-model.txt"])
def test_lock_files_name_packages_and_hashes_only(name: str) -> None:
    """Whoever installs chooses the index; every package is pinned and hashed."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    hosts = re.findall(r".*(?:://|--index|--extra-index|--find-links|file:|@ ).*", text)
    assert not hosts, f"{name} names a place: {hosts[:3]}"
    entries = [e for e in re.split(r"\n(?=\S)", text.strip()) if not e.startswith("#")]
    loose = [e.splitlines()[0] for e in entries if "==" not in e or "--hash=sha256:" not in e]
    assert entries, f"{name} is empty"
    assert not loose, f"{name}: not pinned or not hashed: {loose}"


def test_lock_files_agree() -> None:
    """What is tested is what is run: both locks pin the same versions."""
    runtime, dev = (pins(name) for name in ("runtime.txt", "dev.txt"))
    different = {
        name: (pin, dev.get(name)) for name, pin in runtime.items() if dev.get(name) != pin
    }
    assert not different, f"runtime.txt and dev.txt differ: {different}"


def pins(name: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))
