"""Takes the inline data of Google's parts out of a JSON body that arrives in pieces."""

from __future__ import annotations

import re

from headrace.providers.remote.base64_text import Base64Text

# A quote inside a JSON text is escaped, so that this cannot match in a text.
_START = re.compile(rb'"(data|thoughtSignature|thought_signature)"[ \t\r\n]*:[ \t\r\n]*"')
_NAME_BYTES = 64
_QUOTE = 0x22
TEXTS_MAX = 4096


class InlineSieve:
    """Fed with a body piece by piece, gives the bytes of its ``data`` texts, numbered from 0.

    The JSON around them stays in ``rest``, each text replaced by its number; signatures
    of thoughts, which weigh as much as the images, are passed over. Texts beyond the
    first ``taken_max`` are passed over, too. ``feed`` raises ``ValueError`` for a text that
    is not base64, and where there is too much beside the texts.
    """

    def __init__(self, taken_max: int, rest_bytes_max: int) -> None:
        self.rest = bytearray()
        self._taken_max = taken_max
        self._rest_bytes_max = rest_bytes_max
        self._searched = 0
        self._texts = 0
        self._number = -1
        self._text: Base64Text | None = None
        self.inside = False

    def feed(self, piece: bytes) -> list[tuple[int, bytes]]:
        """Return what ``piece`` adds to the texts, as pairs of number and decoded bytes."""
        given: list[tuple[int, bytes]] = []
        while piece:
            piece = self._within(piece, given) if self.inside else self._beside(piece)
        return given

    def _beside(self, piece: bytes) -> bytes:
        """Keep what stands beside the texts; returns what follows the start of one."""
        before = len(self.rest)
        self.rest += piece
        start = _START.search(self.rest, max(self._searched, before - _NAME_BYTES))
        if start is None:
            self._bounded()
            return b""
        name, end = start[1], start.end()
        follows = bytes(self.rest[end:])
        del self.rest[end:]
        if name == b"data":
            self._number += 1
            self.rest += b"%d" % self._number
            self._text = Base64Text() if self._number < self._taken_max else None
        else:
            self._text = None
        self._bounded()
        self._searched = len(self.rest)
        self._texts += 1
        if self._texts > TEXTS_MAX:
            raise ValueError("too many parts")
        self.inside = True
        return follows

    def _within(self, piece: bytes, given: list[tuple[int, bytes]]) -> bytes:
        """Decode what belongs to the text; returns what follows it, its end mark included."""
        end = piece.find(_QUOTE)
        self.inside = end < 0
        text, follows = (piece, b"") if end < 0 else (piece[:end], piece[end:])
        if self._text is not None:
            decoded = self._text.add(text, last=end >= 0)
            if decoded:
                given.append((self._number, decoded))
        return follows

    def _bounded(self) -> None:
        if len(self.rest) > self._rest_bytes_max:
            raise ValueError("too much beside the images")
