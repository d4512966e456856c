"""Texts on a contact sheet: their first words, whatever they hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from headrace.contact_sheet import TextTile, contact_sheet


def drawn(folder: Path, *texts: str) -> bytes:
    out = contact_sheet([("one", TextTile(text)) for text in texts], folder / "sheet.png")
    return Image.open(out).tobytes()


def test_a_text_shows_its_words_and_not_its_front_matter(tmp_path: Path) -> None:
    """Two pages that differ in their metadata alone look the same; other words look different."""
    page = "---\ntitle: {}\n---\n\n# A chain that lasts\n\nClean it each week."
    first = drawn(tmp_path, page.format("One"))
    assert first == drawn(tmp_path, page.format("Two"))
    assert first != drawn(tmp_path, page.format("One").replace("week", "month"))
    assert first != drawn(tmp_path, "")


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "---\n" * 1000, "\x00\x1b[31m", "سلسلة", "日本語の文章", "🚲 \u202e"]
)
def test_any_text_is_drawn(tmp_path: Path, text: str) -> None:
    """A text without spaces, of other scripts or with control characters still has its tile."""
    assert drawn(tmp_path, text)
