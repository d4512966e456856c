"""``provenance FILE``: what a file says of where it came from, in its XMP and its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.options import Common, data, line

if TYPE_CHECKING:
    from headrace.manifest import Manifest

ANCHORS_BYTES_MAX = 4 * 1024 * 1024
NOTHING_EXIT = 3


def provenance(
    file: Annotated[Path, Parameter(help="A PNG, JPEG, WebP or MP4 file.")],
    *,
    trust: Annotated[
        Path | None, Parameter(help="Certificates (PEM) of signers whose word is trusted.")
    ] = None,
    common: Common | None = None,
) -> int:
    """Say what a file tells of its origin; exit 3 where it tells nothing, or is not as signed."""
    told: dict[str, str] | None = None
    manifest: Manifest | None = None
    anchors = None if trust is None else _text_of(trust)
    try:
        opened = file.open("rb")
    except OSError as error:
        raise _unreadable(file, error.strerror or "") from None
    notes: list[str] = []
    with opened:
        told = _packet(file, opened, notes)
        manifest = _manifest(opened, anchors, notes)
    if common is not None and common.json:
        signed = None if manifest is None else manifest.to_json()
        data({"file": str(file), "xmp": told, "c2pa": signed, "notes": notes})
    else:
        _tell(told, manifest, notes)
    is_sound = manifest is None or manifest.state != "invalid"
    return 0 if (told or manifest) and is_sound else NOTHING_EXIT


def _packet(file: Path, opened: Any, notes: list[str]) -> dict[str, str] | None:
    from headrace.container import LeftError, StreamWindow
    from headrace.containers import media_type_in, packet_in
    from headrace.xmp import told

    window = StreamWindow(opened)
    try:
        media_type_in(window)
    except LeftError:
        raise _unreadable(file, "it is no PNG, JPEG, WebP or MP4 file") from None
    try:
        packet = packet_in(window)
        return None if packet is None else told(packet)
    except (LeftError, ValueError) as left:
        notes.append(f"XMP: {left}")
        return None


def _manifest(opened: Any, anchors: str | None, notes: list[str]) -> Manifest | None:
    from headrace.container import StreamWindow
    from headrace.containers import media_type_in
    from headrace.errors import ConfigError
    from headrace.manifest import UnsignedError
    from headrace.manifests.reading import manifest_in

    try:
        return manifest_in(media_type_in(StreamWindow(opened)), opened, anchors)
    except (UnsignedError, ConfigError) as error:
        notes.append(f"C2PA: {error.message if isinstance(error, ConfigError) else error}")
        return None


def _tell(told: dict[str, str] | None, manifest: Manifest | None, notes: list[str]) -> None:
    if told:
        line("XMP:")
        for name, value in told.items():
            line(f"  {name}: {_plain(value)}")
    else:
        line("XMP: it tells no origin")
    if manifest is None:
        line("C2PA: it has no manifest that was read")
    else:
        line(f"C2PA: {manifest.state}, signed by {_plain(manifest.signed_by or manifest.issuer)}")
        line(f"  written by {_plain(manifest.generator)}")
        for action in manifest.actions:
            line("  " + " · ".join(_plain(value) for value in action.values()))
        for failure in manifest.failures:
            line(f"  not so: {_plain(failure)}")
    for note in notes:
        line(_plain(note))


def _plain(text: str) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(ANCHORS_BYTES_MAX).decode("ascii")
    except OSError as error:
        raise _unreadable(path, error.strerror or "") from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is no PEM file") from None


def _unreadable(path: Path, why: str) -> Exception:
    from headrace.errors import InputError

    return InputError(
        f"the file cannot be read: {why}",
        place=str(path),
        remedy="Name one that headrace wrote, or any other of these formats.",
    )
