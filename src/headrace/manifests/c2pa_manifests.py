"""C2PA manifests, by the extra ``c2pa``: alone with its library.

Nothing is fetched: manifests that lie elsewhere are not followed, no time stamp is asked for.
"""

from __future__ import annotations

import base64
import io
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from headrace.errors import ConfigError
from headrace.manifest import UnsignedError
from headrace.provenance import Origin, SourceType
from headrace.version import VERSION

PEM_BYTES_MAX = 256 * 1024
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False},
    "builder": {"thumbnail": {"enabled": False}},
}
_TRIAL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
_NOBODY = Origin(
    provider="headrace",
    model="trial",
    request_sha256="",
    made_at="2026-01-01T00:00:00+00:00",
    recipe="",
    recipe_sha256="",
    headrace=VERSION,
    source_type=SourceType.TRAINED.value,
)


class C2paManifests:
    """Signs with the key of a certificate; both are PEM files, and read once, by ``open``."""

    def __init__(self, certificate: str, key: str) -> None:
        self._certificate, self._key = certificate, key
        self._ends: datetime | None = None
        self._signer: Any = None
        self._context: Any = None

    def open(self, now: datetime) -> datetime:
        """Load certificate and key, sign a picture for trial, and return until when they are good.

        Raises ``ConfigError``.
        """
        c2pa = library()
        chain_pem = _pem(self._certificate, "provenance.c2pa_certificate")
        key_pem = _pem(self._key, "provenance.c2pa_key")
        chain = _chain(chain_pem, now)
        algorithm = _algorithm(chain[0], key_pem)
        self._ends = ends = min(one.not_valid_after_utc for one in chain)
        try:
            info = c2pa.C2paSignerInfo(algorithm, chain_pem, key_pem, None)
            self._signer = c2pa.Signer.from_info(info)
            self._context = c2pa.Context(c2pa.Settings.from_dict(SETTINGS))
            self.sign("image/png", io.BytesIO(_TRIAL), io.BytesIO(), _NOBODY, now)
        except (c2pa.C2paError, UnsignedError) as error:
            raise ConfigError(
                f"a file cannot be signed with this certificate: {_short(error)}",
                place="provenance.c2pa_certificate",
                remedy="It needs the usage digitalSignature, an extended usage that C2PA takes "
                "(emailProtection, documentSigning), and its issuers behind it in the file.",
            ) from None
        return ends

    def sign(
        self, media_type: str, source: IO[bytes], target: IO[bytes], origin: Origin, now: datetime
    ) -> None:
        """Write ``source`` with a signed manifest into ``target``; raises ``UnsignedError``."""
        c2pa = library()
        if self._ends is None or now >= self._ends:
            raise UnsignedError("the certificate has expired")
        source.seek(0)
        try:
            builder = c2pa.Builder(manifest_of(origin), self._context)
            builder.sign(self._signer, media_type, source, target)
        except c2pa.C2paError as error:
            raise UnsignedError(_short(error)) from None


def manifest_of(origin: Origin) -> dict[str, Any]:
    """Return what a manifest says of an origin: nothing of the batch, the row or the prompt."""
    ours = {"name": "headrace", "version": VERSION}
    actions: list[dict[str, Any]] = [
        {
            "action": "c2pa.created",
            "digitalSourceType": SourceType(origin.source_type).url,
            "softwareAgent": {"name": f"{origin.provider}:{origin.model}"},
            "when": origin.made_at,
        }
    ]
    actions += [
        {"action": "c2pa.edited", "softwareAgent": ours, "description": stage}
        for stage in origin.edited
    ]
    return {
        "claim_generator_info": [ours],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def library() -> Any:
    """Return the library; raises ``ConfigError`` where it is not installed."""
    try:
        import c2pa
    except ImportError:
        raise ConfigError(
            "manifests need c2pa-python, which is not installed",
            place="[provenance]",
            remedy="Install it with: pip install 'headrace[c2pa]'",
        ) from None
    return c2pa


def _pem(name: str, place: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            body = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be read: {error.strerror}", place=place, remedy="Name a PEM file."
        ) from None
    if len(body) > PEM_BYTES_MAX or b"\x00" in body:
        raise ConfigError(f"{name} is no PEM file", place=place, remedy="Name a PEM file.")
    return body


def _chain(pem: bytes, now: datetime) -> list[x509.Certificate]:
    place = "provenance.c2pa_certificate"
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigError(
            "the file holds no certificates", place=place, remedy="Name a PEM file of them."
        ) from None
    for one in chain:
        if not one.not_valid_before_utc <= now < one.not_valid_after_utc:
            raise ConfigError(
                f"a certificate is good from {one.not_valid_before_utc:%Y-%m-%d} "
                f"to {one.not_valid_after_utc:%Y-%m-%d} only",
                place=place,
                remedy="Name one that is good now.",
            )
    return chain


def _algorithm(certificate: x509.Certificate, key_pem: bytes) -> str:
    """Return how C2PA calls what a key signs with; raises ``ConfigError``, never with the key."""
    place = "provenance.c2pa_key"
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(
            "the file holds no private key that can be read",
            place=place,
            remedy="It has to be PEM, PKCS #8 best, without a password.",
        ) from None
    if key.public_key() != certificate.public_key():
        raise ConfigError(
            "the key is not that of the first certificate",
            place=place,
            remedy="The signer's own certificate comes first in c2pa_certificate.",
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    raise ConfigError(
        "C2PA knows no signature by such a key",
        place=place,
        remedy="Use ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of 2048 bits and more.",
    )


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
