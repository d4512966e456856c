"""Google accounts by google-auth, which signs and exchanges keys: the one place that imports it.

It is no kit for calls: it fetches access tokens, and calls go over our own HTTP. Its ways
over HTTP want other libraries, so that it is given one of the standard library here.
"""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from importlib.util import find_spec
from typing import Any

from yarl import URL

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.providers.google import machine as google_machine
from headrace.providers.google.account_tokens import Minted

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
ANSWER_BYTES_MAX = 1024 * 1024
TALK_S = 10.0
_METADATA_HOSTS = ("metadata.google.internal", "169.254.169.254")
_OWN_HOSTS = ("accounts.google.com", "googleapis.com")
_ODD = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What google-auth raises, beside its own errors, over files and answers of another form."""
_SIGNED = re.compile(r"\beyJ[\w.-]{8,}|\bya29\.[\w.-]{8,}")
_INSTALL = "Install it: pip install 'headrace[google]'."


def need_google_auth(place: str) -> None:
    """Raise ``ConfigError`` where google-auth is not installed."""
    try:
        found = find_spec("google.auth")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigError("Google accounts need google-auth", place=place, remedy=_INSTALL)


class GoogleAccount:
    """One account: a service account's file, or what this machine is signed in with.

    ``token_hosts`` are hosts beside Google's own that keys may be exchanged at. All of it
    blocks: call it in a thread, one call at a time.
    """

    def __init__(
        self, credentials_file: str, token_hosts: tuple[str, ...], place: str, clock: Clock
    ) -> None:
        self._file = credentials_file
        self._clock = clock
        self._talk = _Talk(token_hosts)
        self._place = place
        self._credentials: Any = None
        self._project: str | None = None

    def load(self) -> str | None:
        """Read the account, once, and return its project; raises ``ConfigError``."""
        if self._credentials is None:
            self._credentials, self._project = self._read()
        return self._project

    def _read(self) -> tuple[Any, str | None]:
        from google.auth import exceptions
        from google.oauth2 import service_account

        try:
            if not self._file:
                return self._around()
            credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                self._file, scopes=SCOPES
            )
        except OSError as error:
            raise ConfigError(
                f"{self._file!r} cannot be read: {error.strerror}",
                place=f"{self._place} credentials_file",
                remedy="Name the JSON file of a service account's key.",
            ) from None
        except (exceptions.GoogleAuthError, *_ODD) as error:
            raise self._unusable(error) from None
        return credentials, credentials.project_id

    def _around(self) -> tuple[Any, str | None]:
        """What this machine is signed in with: by a person, by a variable, or by itself."""
        import google.auth
        from google.auth import exceptions

        try:
            return google.auth.default(scopes=SCOPES, request=self._talk)  # type: ignore[arg-type]
        except exceptions.DefaultCredentialsError as error:
            if "GOOGLE_APPLICATION_CREDENTIALS" in os.environ:
                raise
            try:
                machine = google_machine.found(self._talk, self._clock.now)
            except exceptions.TransportError:
                machine = None
            if machine is None:
                raise error from None
            return machine, machine.project_id

    def _unusable(self, error: Exception) -> ConfigError:
        if self._file:
            # From None and without its text: the reader's errors may quote the file.
            return ConfigError(
                f"{self._file!r} is not the key of a service account ({type(error).__name__})",
                place=f"{self._place} credentials_file",
                remedy="Accounts of other kinds: set GOOGLE_APPLICATION_CREDENTIALS to the file.",
            )
        return ConfigError(
            f"this machine is not signed in at Google: {_cleaned(error)}",
            place=self._place,
            remedy="Run 'gcloud auth application-default login', or set credentials_file.",
        )

    def mint(self) -> Minted:
        """Fetch an access token; raises ``CallFailed``: auth, or transient where nobody says no."""
        from google.auth import exceptions

        try:
            self.load()
            self._credentials.refresh(self._talk)
        except ConfigError as error:
            raise failed(OutcomeKind.AUTH, error.message, remedy=error.remedy) from None
        except exceptions.GoogleAuthError as error:
            raise _not_given(error) from None
        except _ODD as error:
            # The library trusts what a token server says to have its form.
            raise failed(
                OutcomeKind.TRANSIENT,
                f"the token server's answer cannot be read ({type(error).__name__})",
                remedy="Nothing was sent. It is tried again.",
            ) from None
        return self._minted()

    def _minted(self) -> Minted:
        credentials = self._credentials
        token, expiry = credentials.token, credentials.expiry
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise failed(
                OutcomeKind.TRANSIENT,
                "the token server gave no token",
                remedy="Nothing was sent. It is tried again.",
            )
        return Minted(
            token,
            expiry.replace(tzinfo=expiry.tzinfo or UTC) if expiry is not None else None,
            self._project,
            getattr(credentials, "quota_project_id", None),
        )


def _not_given(error: Any) -> CallFailed:
    from google.auth import exceptions

    passing = error.retryable or isinstance(error, exceptions.TransportError)
    if passing or isinstance(error.__cause__, exceptions.TransportError):
        return failed(
            OutcomeKind.TRANSIENT,
            f"no access token: {_cleaned(error)}",
            remedy="Nothing was sent. It is tried again.",
        )
    return failed(
        OutcomeKind.AUTH,
        f"Google gives no access token: {_cleaned(error)}",
        remedy="Check the account, that its key still exists, and the machine's clock.",
    )


def _cleaned(error: Exception) -> str:
    """The first words of an error, without what is signed or a token."""
    words = str(error.args[0]) if error.args else type(error).__name__
    return _SIGNED.sub("[masked]", " ".join(words[:2000].split()))[:300]


@dataclass(frozen=True, slots=True)
class _Heard:
    """A response, as google-auth reads it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow nothing: a signed key goes where it was meant to go."""


class _Talk:
    """HTTP for google-auth: to token servers only, bounded, without proxies or redirects."""

    def __init__(self, token_hosts: tuple[str, ...]) -> None:
        self._token_hosts = token_hosts
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> _Heard:
        """Send one request; raises google-auth's ``TransportError``."""
        if not self._may_go(url):
            raise _unheard(f"{str(URL(url).host)[:100]} is no token server that is known here")
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(url, data, dict(headers or {}), method=method)
        try:
            with self._opener.open(request, timeout=min(timeout or TALK_S, TALK_S)) as response:
                return _heard(response.status, response.headers, response)
        except urllib.error.HTTPError as error:
            with error:
                return _heard(error.code, error.headers, error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise _unheard(f"{URL(url).host} cannot be reached: {str(why)[:100]}") from None

    def _may_go(self, address: str) -> bool:
        url = URL(address)
        host = url.host or ""
        if url.scheme not in ("http", "https"):
            return False
        if host in self._token_hosts or url.authority in self._token_hosts:
            return True
        if host in _METADATA_HOSTS or url.authority == google_machine.metadata_host():
            return True
        own = any(host == one or host.endswith(f".{one}") for one in _OWN_HOSTS)
        return own and url.scheme == "https"


def _unheard(why: str) -> Exception:
    """The error by which google-auth knows that nobody answered."""
    from google.auth import exceptions

    error: Exception = exceptions.TransportError(why)  # type: ignore[no-untyped-call]
    return error


def _heard(status: int, headers: Any, body: Any) -> _Heard:
    return _Heard(status, dict(headers or {}), body.read(ANSWER_BYTES_MAX))
