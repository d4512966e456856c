"""Reads a file's manifest back: what it says, who signed it, and whether the file is that still."""

from __future__ import annotations

from typing import IO, Any

import msgspec

from headrace.manifest import Manifest, UnsignedError
from headrace.manifests.c2pa_manifests import SETTINGS, library

ACTIONS_MAX = 100
CHARS_MAX = 500


def manifest_in(media_type: str, file: IO[bytes], anchors: str | None = None) -> Manifest | None:
    """Return what a file's manifest says, ``None`` where it has none.

    ``anchors`` are certificates (PEM) whose word is trusted. Nothing is fetched: a manifest
    that lies elsewhere is none. Raises ``UnsignedError`` for one that cannot be read, and
    ``ConfigError`` where the extra is not installed.
    """
    c2pa = library()
    settings = SETTINGS
    if anchors is not None:
        verify = {**SETTINGS["verify"], "verify_trust": True}
        settings = {**SETTINGS, "verify": verify, "trust": {"trust_anchors": anchors}}
    file.seek(0)
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(settings))
        with c2pa.Reader(media_type, file, context=context) as reader:
            read = msgspec.json.decode(reader.json())
            state = str(reader.get_validation_state() or "")
    except c2pa.C2paError.ManifestNotFound:
        return None
    except (c2pa.C2paError, msgspec.DecodeError) as error:
        raise UnsignedError(f"its manifest cannot be read: {str(error)[:200]}") from None
    return _manifest(read, state.lower())


def _manifest(read: dict[str, Any], state: str) -> Manifest:
    active = read.get("manifests", {}).get(read.get("active_manifest"), {})
    signature = active.get("signature_info") or {}
    makers = active.get("claim_generator_info") or [{}]
    results = (read.get("validation_results") or {}).get("activeManifest") or {}
    failures = [one.get("code") for one in results.get("failure") or []]
    return Manifest(
        state=state,
        issuer=_text(signature.get("issuer")),
        signed_by=_text(signature.get("common_name")),
        generator=_text(f"{makers[0].get('name', '')} {makers[0].get('version', '')}".strip()),
        actions=tuple(_action(one) for one in _actions(active)[:ACTIONS_MAX]),
        failures=tuple(_text(code) for code in failures[:ACTIONS_MAX]),
    )


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in manifest.get("assertions") or []:
        if str(one.get("label", "")).startswith("c2pa.actions"):
            found += (one.get("data") or {}).get("actions") or []
    return found


def _action(told: dict[str, Any]) -> dict[str, str]:
    agent = told.get("softwareAgent")
    words = {
        "action": told.get("action"),
        "source_type": told.get("digitalSourceType"),
        "by": agent.get("name") if isinstance(agent, dict) else agent,
        "when": told.get("when"),
        "description": told.get("description"),
    }
    return {name: _text(value) for name, value in words.items() if value}


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:CHARS_MAX]
