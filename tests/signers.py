"""Certificates for tests: a chain of its own for each call, made in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headrace.clock import SystemClock

NOW = SystemClock().now()
"""The library looks at the wall clock itself, so that certificates have to be good today."""
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


_CURVES = {
    "p256": ec.SECP256R1,
    "p384": ec.SECP384R1,
    "p521": ec.SECP521R1,
    "k256": ec.SECP256K1,
}


@dataclass(frozen=True)
class Chain:
    """PEM texts: the signer's certificate with its issuer's, the signer's key, the issuer's."""

    certificates: bytes
    key: bytes
    anchor: bytes

    def put(self, folder: Path) -> dict[str, str]:
        """Write both files, and return the settings that name them."""
        (folder / "chain.pem").write_bytes(self.certificates)
        (folder / "key.pem").write_bytes(self.key)
        return {
            "c2pa_certificate": str(folder / "chain.pem"),
            "c2pa_key": str(folder / "key.pem"),
        }


def chain(
    kind: str = "p256", *, now: datetime = NOW, days: int = 30, extended: bool = True
) -> Chain:
    """A chain that is good from the day before ``now`` for ``days``."""
    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), _key(kind)
    names = {
        name: x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mill"),
            ]
        )
        for name in ("Issuer", "Signer")
    }

    def build(name: str, public: Any, is_issuer: bool) -> x509.Certificate:
        usage = dict.fromkeys(_USAGES, False)
        usage["key_cert_sign" if is_issuer else "digital_signature"] = True
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["Issuer"])
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(is_issuer, 0 if is_issuer else None), True)
            .add_extension(x509.KeyUsage(**usage), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
            )
        )
        if extended and not is_issuer:
            usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usages, False)
        return builder.sign(issuer_key, hashes.SHA256())

    issuer = _pem(build("Issuer", issuer_key.public_key(), True))
    signer = _pem(build("Signer", key.public_key(), False))
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Chain(signer + issuer, key_pem, issuer)


def _key(kind: str) -> Any:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65_537, int(kind.removeprefix("rsa")))
    curves = {
        "p256": ec.SECP256R1,
        "p384": ec.SECP384R1,
        "p521": ec.SECP521R1,
        "k256": ec.SECP256K1,
    }
    return ec.generate_private_key(curves[kind]())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
