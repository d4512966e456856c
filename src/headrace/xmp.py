"""XMP packets that tell an origin: written anew, or added to one that is there."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from headrace.container import XMP_BYTES_MAX, LeftError
from headrace.provenance import Origin, SourceType

TEXT_CHARS_MAX = 500
OURS = "urn:headrace:provenance:1"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_END = "</rdf:RDF>"
_ABOUT = re.compile(r"rdf:about\s*=\s*(\"[^\"<]{0,500}\"|'[^'<]{0,500}')")
# XML cannot hold these at all, escaped or not.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def packet(origin: Origin) -> bytes:
    """Return a whole packet for a file that has none; the same origin gives the same bytes."""
    described = _description(origin, '""', "")
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'{described}{_END}</x:xmpmeta><?xpacket end="r"?>'
    )
    return text.encode()


def merged(existing: bytes, origin: Origin) -> bytes:
    """Return a packet with the origin added; what stands there already stays as it is.

    It is not parsed, so nothing in it can be a bomb. Raises ``LeftError``.
    """
    if len(existing) > XMP_BYTES_MAX:
        raise LeftError("its XMP is too large")
    try:
        text = existing.decode("utf-8")
    except UnicodeDecodeError:
        raise LeftError("its XMP is not UTF-8") from None
    at = text.rfind(_END)
    if at < 0 or "<!DOCTYPE" in text or f'"{_RDF}"' not in text.replace("'", '"'):
        raise LeftError("its XMP cannot be read")
    if OURS in text:
        raise LeftError("it tells its origin already")
    about = _ABOUT.search(text)
    described = _description(origin, about[1] if about else '""', text)
    return (text[:at] + described + text[at:]).encode()


def told(existing: bytes) -> dict[str, str]:
    """Return what a packet tells of an origin, by our names for it; raises ``LeftError``.

    Packets with a document type are not read, so no entity can be a bomb.
    """
    if len(existing) > XMP_BYTES_MAX:
        raise LeftError("its XMP is too large")
    try:
        text = existing.decode("utf-8-sig")
        if "<!" in text:
            raise LeftError("its XMP cannot be read")
        tree = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError):
        raise LeftError("its XMP cannot be read") from None
    found: dict[str, str] = {}
    for one in tree.iter(f"{{{_RDF}}}Description"):
        values = {**one.attrib, **{child.tag: (child.text or "").strip() for child in one}}
        for name, key in _TOLD.items():
            if values.get(name):
                found.setdefault(key, values[name][:TEXT_CHARS_MAX])
    return found


_TOLD = {
    f"{{{_IPTC}}}DigitalSourceType": "source_type",
    f"{{{_IPTC}}}AISystemUsed": "model",
    f"{{{_XMP}}}CreatorTool": "tool",
    f"{{{_XMP}}}CreateDate": "made_at",
    f"{{{OURS}}}seed": "seed",
    f"{{{OURS}}}request": "request_sha256",
    f"{{{OURS}}}recipe": "recipe",
    f"{{{OURS}}}recipeVersion": "recipe_sha256",
    f"{{{OURS}}}edited": "edited",
}


def _description(origin: Origin, about: str, there: str) -> str:
    told = [
        ("Iptc4xmpExt:DigitalSourceType", SourceType(origin.source_type).url),
        ("Iptc4xmpExt:AISystemUsed", f"{origin.provider}/{origin.model}"),
        ("xmp:CreatorTool", f"headrace {origin.headrace}"),
        ("xmp:CreateDate", origin.made_at),
        ("headrace:seed", "" if origin.seed is None else str(origin.seed)),
        ("headrace:request", origin.request_sha256),
        ("headrace:recipe", origin.recipe),
        ("headrace:recipeVersion", origin.recipe_sha256),
        ("headrace:edited", ", ".join(origin.edited)),
    ]
    # A property may stand once: what is told there already is its maker's to tell.
    kept = [f"{name}={_quoted(value)}" for name, value in told if value and name not in there]
    spaces = f'xmlns:Iptc4xmpExt="{_IPTC}" xmlns:xmp="{_XMP}" xmlns:headrace="{OURS}"'
    return f"<rdf:Description rdf:about={about} {spaces} {' '.join(kept)}/>"


def _quoted(value: str) -> str:
    return quoteattr(_ILLEGAL.sub("\ufffd", value))
