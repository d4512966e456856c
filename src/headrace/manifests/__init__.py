"""Manifests: how they are signed, by the settings."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.manifest import Manifests
from headrace.provenance_settings import ProvenanceSettings

__all__ = ["manifests_of"]


def manifests_of(settings: ProvenanceSettings) -> Manifests | None:
    """Return what signs files, not opened; ``None`` where nothing is signed.

    Raises ``ConfigError`` where one of the two files is not named.
    """
    certificate, key = settings.c2pa_certificate, settings.c2pa_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError(
            "a certificate and its key go together",
            place="[provenance]",
            remedy="Set c2pa_certificate and c2pa_key, both or neither.",
        )
    # Only here: it loads all of cryptography's certificates, which few processes need.
    from headrace.manifests.c2pa_manifests import C2paManifests

    return C2paManifests(certificate, key)
