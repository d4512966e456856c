"""The article recipe on a real small model, where its server is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = Path(os.environ.get("SMOLLM_PYTHON", ROOT / ".venv-smollm" / "bin" / "python"))

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.skipif(not SERVER.exists(), reason="no small model here: make article-offline")
def test_a_small_model_gets_through_the_recipe(tmp_path: Path) -> None:
    """Every stage is answered by a real model, and the row ends: a page, or the rule it broke."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "article_offline.py"),
            "--server",
            str(SERVER),
            "--out",
            str(tmp_path),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    results = (tmp_path / "articles" / "results.csv").read_text()
    if done.returncode == 0:
        (page,) = (tmp_path / "articles").glob("*.md")
        assert page.read_text().startswith("---\ntitle: ")
    else:
        assert "rejected" in results
