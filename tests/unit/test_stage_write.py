"""The write stage: whatever a row says, the file name is safe on every file system."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.outcome import CallFailed
from headrace.recipe import parse_recipe
from headrace.stage import Named, StageInput
from headrace.stages import build_stages
from headrace.stages.write import NAME_BYTES_MAX, safe_name


def name_of(row: dict[str, Any], file: str | None = None) -> str:
    table = {"kind": "write"} | ({} if file is None else {"file": file})
    (stage,) = build_stages(parse_recipe({"stages": [table]}, "r.toml"), {})
    done = stage.apply(StageInput(row, {}, {}, None, 7, "spring"))
    assert isinstance(done, Named)
    return done.file


def test_default_is_the_padded_row_number() -> None:
    """Without a template files are named by row number, six digits, so that they sort."""
    assert name_of({}) == "000007"
    assert name_of({}, "card-{{ row_number }}") == "card-000007"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("tea", "tea"),
        ("Grüner Tee 茶", "Grüner Tee 茶"),
        ("a/b\\c", "a_b_c"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "f"),
        ("", "f"),
        (" . ", "f"),
        ("///", "f"),
        (".hidden", "hidden"),
        ("tea.png", "tea"),
        ("tea.JPEG", "tea"),
        ("tea v1.2", "tea v1.2"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1"),
        ("nul.x", "_nul.x"),
        ("a\x00b\nc", "a_b_c"),
        ("rtl\u202egnp.exe", "rtl_gnp.exe"),
        ("tail. ", "tail"),
    ],
)
def test_names_are_made_safe(text: str, want: str) -> None:
    """Separators, dots, devices, controls and known endings are dealt with, letters are kept."""
    assert safe_name(text, "f") == want


@given(st.text(max_size=400))
def test_a_name_is_one_plain_part(text: str) -> None:
    """Any text gives one path part, short enough, that leads nowhere else."""
    name = safe_name(text, "000001")
    assert name
    assert name not in (".", "..")
    assert not name.startswith(".")
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert len(name.encode()) <= NAME_BYTES_MAX + 1
    assert name == name.strip()


@given(st.text(max_size=60))
def test_making_safe_twice_changes_nothing(text: str) -> None:
    """A safe name is its own safe name, but for endings that come off one at a time."""
    once = safe_name(text, "f")
    if "." not in once:
        assert safe_name(once, "f") == once


def test_a_value_that_cannot_be_shown_is_the_rows_fault() -> None:
    """A list that canonical JSON cannot hold ends its item as invalid."""
    with pytest.raises(CallFailed, match="row 7"):
        name_of({"x": [float("nan")]}, "{{ x }}")


def test_write_makes_no_request() -> None:
    """Asking a write stage for a request is a mistake of the caller."""
    (stage,) = build_stages(parse_recipe({"stages": [{"kind": "write"}]}, "r.toml"), {})
    assert stage.provider is None
    with pytest.raises(TypeError):
        stage.request(StageInput({}, {}, {}, None, 1, "b"))
