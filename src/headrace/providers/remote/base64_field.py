"""Takes the one large base64 text out of a JSON body that arrives in pieces."""

from __future__ import annotations

import re

from headrace.providers.remote.base64_text import Base64Text

_QUOTE = 0x22
_START_BYTES = 128


class Base64Field:
    """Fed with a JSON body piece by piece, gives the bytes of its first base64 text.

    That is the text under ``name``, or a base64 ``data:`` address under ``url`` or
    ``image_url``. The image is never whole in memory: ``feed`` returns what a piece decodes
    to, and ``rest`` keeps the JSON around it without the image. Raises ``ValueError`` for a
    text that is not base64 and for a rest above ``rest_bytes_max``.
    """

    def __init__(self, name: str = "b64_json", rest_bytes_max: int = 1 << 20) -> None:
        # A quote inside a JSON text is escaped, so that this cannot match in a text.
        self._start = re.compile(
            rb'"' + name.encode() + rb'"[ \t\r\n]*:[ \t\r\n]*"'
            rb'|"(?:image_)?url"[ \t\r\n]{0,8}:[ \t\r\n]{0,8}"data:[\w.+/\\-]{1,60};base64,'
        )
        self._rest_bytes_max = rest_bytes_max
        self._text = Base64Text()
        self._inside = False
        self.found = False
        self.complete = False
        self.rest = bytearray()

    def feed(self, piece: bytes) -> bytes:
        """Return what ``piece`` adds to the decoded bytes, often all of its text's."""
        if self._inside:
            return self._decode(piece)
        searched = len(self.rest)
        self._keep(piece)
        if self.found:
            return b""
        start = self._start.search(self.rest, max(0, searched - _START_BYTES))
        if start is None:
            return b""
        self.found = self._inside = True
        text = bytes(self.rest[start.end() :])
        del self.rest[start.end() :]
        return self._decode(text)

    def _keep(self, piece: bytes) -> None:
        self.rest += piece
        if len(self.rest) > self._rest_bytes_max:
            raise ValueError("too much beside the image")

    def _decode(self, text: bytes) -> bytes:
        end = text.find(_QUOTE)
        if end >= 0:
            self._inside, self.complete = False, True
            self._keep(text[end:])
            text = text[:end]
        return self._text.add(text, last=self.complete)
