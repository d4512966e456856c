"""Decodes one base64 text of a JSON body that comes in pieces, escapes and all."""

from __future__ import annotations

import binascii
import re

import pybase64

_ESCAPE_BYTES, _PADS_MAX = 6, 4
# Some writers of JSON escape the three letters of base64 that are neither letter nor digit.
_ESCAPE = re.compile(rb"\\(?:/|u00(?:2[bB]|2[fF]|3[dD]))")
_PLAIN = {b"b": b"+", b"f": b"/", b"/": b"/", b"d": b"="}


class Base64Text:
    """Fed with a text piece by piece, gives its bytes, however much padding it ends with."""

    def __init__(self) -> None:
        self._carry = b""

    def add(self, text: bytes, last: bool = False) -> bytes:
        """Return what the next piece decodes to; raises ``ValueError`` for what is no base64."""
        text, held = self._carry + text if self._carry else text, b""
        if not last:
            # An escape may be cut in two.
            cut = text.rfind(b"\\", max(0, len(text) - _ESCAPE_BYTES + 1))
            if cut >= 0:
                text, held = text[:cut], text[cut:]
        if b"\\" in text:
            text = _ESCAPE.sub(lambda found: _PLAIN[found[0][-1:].lower()], text)
        plain = text.rstrip(b"=")
        if b"=" in plain or len(text) - len(plain) > _PADS_MAX:
            # A decoder sees a piece: what follows its padding in the next one it does not.
            raise binascii.Error("a text of base64 goes on after its padding")
        over = len(plain) % 4
        if last:
            ready, self._carry = plain + b"=" * (-over % 4), b""
        else:
            # What looks like the end may be followed by more, which is then no base64.
            ready, self._carry = plain[: len(plain) - over], text[len(plain) - over :] + held
        return pybase64.b64decode(ready, validate=True) if ready else b""
