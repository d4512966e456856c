"""Where a page of batches ends, as a text that callers only hand back."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from uuid import UUID

from headrace.errors import UsageError

CURSOR_CHARS_MAX = 200


def show_cursor(created_at: datetime, batch_id: UUID) -> str:
    """Return the cursor of the page behind a batch."""
    told = f"{created_at.isoformat()} {batch_id.hex}"
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[datetime, UUID]:
    """Return what ``show_cursor`` was given; raises ``UsageError``."""
    try:
        if len(text) > CURSOR_CHARS_MAX:
            raise ValueError("it is too long")
        padded = text + "=" * (-len(text) % 4)
        told = base64.b64decode(padded.encode("ascii"), b"-_", validate=True).decode("ascii")
        time, _, name = told.partition(" ")
        created_at = datetime.fromisoformat(time)
        if created_at.tzinfo is None:
            raise ValueError("it has no zone")
        return created_at, UUID(hex=name)
    except (ValueError, binascii.Error, OverflowError):
        raise UsageError(
            f"the cursor {text[:40]!r} is none", remedy="Use what `next` of the page before says."
        ) from None
