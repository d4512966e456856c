"""What the Dockerfile starts, started the same way on this machine: in a bare folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy_files import ROOT, healthcheck, image_environment, last

pytestmark = pytest.mark.process


def test_the_image_starts_is_healthy_and_ends_with_zero(scratch: Path) -> None:
    """Its command serves from copied files alone, passes its own check, and drains on SIGTERM."""
    site, home = scratch / "site", scratch / "home"
    shutil.copytree(
        ROOT / "src" / "headrace", site / "headrace", ignore=shutil.ignore_patterns("__pycache__")
    )
    home.mkdir()
    home.chmod(0o711)
    environment = {**image_environment(), "HEADRACE_HOME": str(home)}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "HOME": str(scratch)}
    words = json.loads(last("CMD"))
    words[words.index("--host") + 1] = "127.0.0.1"
    words[words.index("--port") + 1] = "0"
    entry = [sys.executable, *json.loads(last("ENTRYPOINT"))[1:]]
    process = subprocess.Popen(
        [*entry, *words, "--json"],
        cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        port = told["url"].rpartition(":")[2]
        check = [sys.executable, *healthcheck()[1:]]
        check[-1] = check[-1].replace(":8400/", f":{port}/")
        assert subprocess.run(check, env=environment, timeout=240, check=False).returncode == 0
    finally:
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=240)
    assert process.returncode == 0, complaints
    # Once it is gone the same check says so.
    gone = subprocess.run(check, env=environment, timeout=240, check=False, capture_output=True)
    assert gone.returncode != 0
