"""Finds templates, reads what they declare, and keeps an unchanging copy of each version.

A template ``card`` is ``card.typ``, its declared parameters ``card.toml``, and its own
folder ``card/`` where there is one; it may also use ``kit.typ`` and the folder
``shared/`` beside it. Nothing else is copied below the root that Typst may read.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headrace.nearest import did_you_mean
from headrace.providers.typst_engine.faults import TemplateError, TemplateMissingError

KINDS = ("text", "color", "photo", "list")
TEMPLATE_BYTES_MAX = 32 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PACKAGE = re.compile(r"""["'](@[a-z0-9-]+/[^"']+)["']""", re.IGNORECASE)
_FONT_SUFFIXES = {".ttf", ".otf", ".ttc"}
# Raise it when the renderer itself changes what it draws from the same template and row.
_ENGINE_VERSION = 1
_HEADER_KEYS = {"title", "description", "width_px", "height_px", "parameters"}
_PARAMETER_KEYS = {"doc", "required", "kind", "default", "longest_px"}


def builtin_templates() -> Path:
    """Return the folder of the templates that come with headrace."""
    return Path(__file__).resolve().parents[2] / "templates"


def builtin_fonts() -> Path:
    """Return the folder of the fonts that come with headrace."""
    return Path(__file__).resolve().parents[2] / "fonts"


@dataclass(frozen=True, slots=True)
class TemplateColumn:
    """A declared parameter of a template: what a row may, or must, give it."""

    name: str
    doc: str = ""
    required: bool = False
    kind: str = "text"
    default: str | None = None
    longest_px: int = 1600


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template; ``main`` is its path below the root.

    ``columns`` is ``None`` when it declares nothing and takes any column.
    """

    name: str
    version: str
    main: str
    columns: tuple[TemplateColumn, ...] | None
    title: str = ""
    description: str = ""
    width_px: int = 0
    height_px: int = 0


class Catalog:
    """The templates of some folders (the first that has a name wins), copied below ``root``."""

    def __init__(self, folders: Sequence[Path], font_folders: Sequence[Path], root: Path) -> None:
        self._folders = tuple(folders)
        self._root = root
        self._fonts = _fonts_digest(font_folders)
        self._known: dict[str, tuple[object, Template]] = {}

    def names(self) -> list[str]:
        """Return the names of all templates, sorted."""
        return sorted(
            {
                path.stem
                for folder in self._folders
                if folder.is_dir()
                for path in folder.glob("*.typ")
                if path.stem != "kit" and _NAME.fullmatch(path.stem)
            }
        )

    def find(self, name: str) -> Template:
        """Return the present version of a template.

        Raises ``TemplateMissingError`` for an unknown name, ``TemplateError`` for a header
        that does not parse or a template that asks for a package.
        """
        folder = self._folder(name)
        files = list(_files(folder, name))
        stamp = tuple((str(path), *_stamp(path)) for path in files)
        known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        template = self._copy(name, folder, files)
        self._known[name] = (stamp, template)
        return template

    def _folder(self, name: str) -> Path:
        for folder in self._folders if _NAME.fullmatch(name) else ():
            if (folder / f"{name}.typ").is_file():
                return folder
        raise TemplateMissingError(
            f"there is no template {name!r}",
            place=", ".join(map(str, self._folders)),
            remedy=did_you_mean(name, self.names()),
        )

    def _copy(self, name: str, folder: Path, files: list[Path]) -> Template:
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        if not any(part.startswith("kit.typ") for part in contents):
            kit = builtin_templates() / "kit.typ"
            if kit.is_file():
                contents["kit.typ"] = kit.read_bytes()
        _check(name, folder, contents)
        digest = self._digest(name, contents)
        home = self._root / "t" / digest[:32]
        for part, body in contents.items():
            target = home / part
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
        header = _header(contents.get(f"{name}.toml"), str(folder / f"{name}.toml"))
        return Template(name, digest, f"t/{digest[:32]}/{name}.typ", **header)

    def _digest(self, name: str, contents: dict[str, bytes]) -> str:
        facts = {
            "template": name,
            "files": {part: hashlib.sha256(body).hexdigest() for part, body in contents.items()},
            "fonts": self._fonts,
            "typst": version("typst"),
            "pillow": version("pillow"),
            "engine": _ENGINE_VERSION,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _files(folder: Path, name: str) -> Iterable[Path]:
    base = folder.resolve()
    single = [folder / f"{name}.typ", folder / f"{name}.toml", folder / "kit.typ"]
    nested = [p for part in (name, "shared") for p in sorted((folder / part).rglob("*"))]
    for path in single + nested:
        if path.is_file() and path.resolve().is_relative_to(base):
            yield path


def _stamp(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_mtime_ns, info.st_size


def _check(name: str, folder: Path, contents: dict[str, bytes]) -> None:
    size = sum(map(len, contents.values()))
    if size > TEMPLATE_BYTES_MAX:
        raise TemplateError(
            f"template {name!r} has {size:,} bytes; {TEMPLATE_BYTES_MAX:,} are allowed",
            place=str(folder),
            remedy="Keep large pictures out of the template's folder and shared/.",
        )
    for part, body in contents.items():
        if not part.endswith(".typ"):
            continue
        for number, line in enumerate(body.decode(errors="replace").splitlines(), 1):
            found = _PACKAGE.search(line.split("//")[0])
            if found:
                raise TemplateError(
                    f"template {name!r} imports the package {found.group(1)!r}; "
                    "packages are switched off, because they would be downloaded",
                    place=f"{folder / part}:{number}",
                    remedy="Copy what you need of it into the folder shared/ and import that.",
                )


def _fonts_digest(folders: Sequence[Path]) -> str:
    fonts = sorted(
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in _FONT_SUFFIXES
    )
    return hashlib.sha256(json.dumps(fonts).encode()).hexdigest()


def _header(body: bytes | None, place: str) -> dict[str, Any]:
    if body is None:
        return {"columns": None}
    try:
        tree = tomllib.loads(body.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateError(f"not valid TOML: {error}", place=place) from error
    _known(tree, _HEADER_KEYS, place)
    parameters = tree.pop("parameters", {})
    tree["columns"] = tuple(_column(name, facts, place) for name, facts in parameters.items())
    return tree


def _column(name: str, facts: Any, place: str) -> TemplateColumn:
    here = f"{place} [parameters.{name}]"
    if not isinstance(facts, dict):
        raise TemplateError(f"a parameter is a table, not {facts!r}", place=here)
    _known(facts, _PARAMETER_KEYS, here)
    column = TemplateColumn(name, **facts)
    if column.kind not in KINDS:
        raise TemplateError(
            f"unknown kind {column.kind!r}", place=here, remedy=did_you_mean(column.kind, KINDS)
        )
    return column


def _known(table: dict[str, Any], known: set[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise TemplateError(
                f"unknown key {key!r}", place=place, remedy=did_you_mean(key, known)
            )
