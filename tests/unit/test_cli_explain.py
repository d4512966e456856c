"""``headrace explain``: conclusions line by line, and clear words about bad lines."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.commands import HEADRACE, ROOT, environment_in, piped

DATA = ROOT / "tests" / "data" / "error_responses.jsonl"
KEYS = ["class", "retry", "wait_s", "wait_from", "limits"]
LIMITED = {
    "provider": "openai",
    "status": 429,
    "headers": {
        "Retry-After": "2",
        "X-RateLimit-Limit-Requests": "500",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "120ms",
    },
    "body": {"error": {"message": "Rate limit reached"}},
    "id": "other keys are ignored",
}
COMMAND = [*HEADRACE, "explain"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


@pytest.fixture
def explain(tmp_path: Path, environment: dict[str, str]) -> Any:
    """Run the command in an empty folder, with ``given`` on its standard input."""

    def run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment,
            input=given,
            capture_output=True,
            timeout=120,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in out + err
        assert "unexpected" not in err
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return run


def line_of(value: Any) -> bytes:
    """A value as a line of JSON."""
    return json.dumps(value).encode() + b"\n"


def test_every_known_answer_is_explained(explain: Any) -> None:
    """One object a line, in order, with exactly the promised keys."""
    done = explain(str(DATA), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    samples = [json.loads(line) for line in DATA.read_text().splitlines()]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(answer) for answer in answers] == [KEYS] * len(samples)
    for sample, answer in zip(samples, answers, strict=True):
        assert {key: answer[key] for key in KEYS[:-1]} == sample["expect"], sample["id"]


def test_limits_are_told_without_what_is_unknown(explain: Any) -> None:
    """Whole numbers as whole numbers; header names in any case."""
    done = explain("--json", given=line_of(LIMITED))
    answer = json.loads(done.stdout)
    assert answer["wait_s"] == 2.0
    assert answer["limits"] == [
        {"dimension": "requests", "amount": 500, "window_s": 60, "remaining": 0, "reset_s": 0.12}
    ]
    replicate = {"status": 201, "headers": {"ratelimit-remaining": "599"}}
    (limit,) = json.loads(explain("--json", given=line_of(replicate)).stdout)["limits"]
    assert limit == {"dimension": "requests", "remaining": 599}


def test_people_read_what_to_do(explain: Any) -> None:
    """Class, wait and where it stands, message, limits, remedy."""
    done = explain(given=line_of(LIMITED))
    assert done.returncode == 0
    for words in (
        "line 1 · openai · HTTP 429: rate_limited, try again after 2 s (found in retry-after)",
        "Rate limit reached (HTTP 429)",
        "limit of requests: 500 per 60 s, 0 left, full again in 0.12 s",
        "→ Nothing to do",
    ):
        assert words in done.stdout


BAD = {
    "no JSON": (b"nope\n", "not valid JSON"),
    "cut off": (b'{"status": 429', "not valid JSON"),
    "a list": (b"[1]\n", "not a JSON object"),
    "no status": (b"{}\n", "'status' is missing"),
    "status of words": (b'{"status": "teapot"}\n', "'status' is \"teapot\""),
    "status true": (b'{"status": true}\n', "'status' is true"),
    "status 1e9": (b'{"status": 1000000000}\n', "'status' is 1000000000"),
    "headers": (b'{"status": 429, "headers": []}\n', "'headers' is not an object"),
    "provider": (b'{"status": 429, "provider": 7}\n', "'provider' is not a text"),
    "latin-1": (b'{"status": 429, "body": "M\xfcller"}\n', "not UTF-8 at byte"),
    "deep": (b'{"body":' + b"[" * 200_000 + b"\n", "nested too deeply"),
    "digits": (b'{"status": ' + b"9" * 5000 + b"}\n", "too many digits"),
    "long": (b'{"body": "' + b"x" * 17 * 1024**2 + b'"}\n', "longer than 16 MiB"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_the_others_are_served(explain: Any, name: str) -> None:
    """Number and reason on standard error, exit 3, and nothing else is lost."""
    bad, reason = BAD[name]
    given = line_of(LIMITED) + b"\n" + (bad if bad.endswith(b"\n") else bad + b"\n")
    done = explain("--json", given=given + line_of(LIMITED))
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 2
    assert "standard input, line 3:" in done.stderr
    assert reason in done.stderr
    assert "line 4" not in done.stderr


def test_a_byte_order_mark_and_blank_lines_are_fine(explain: Any, tmp_path: Path) -> None:
    """Files of other systems have both; the last line needs no end."""
    text = line_of(LIMITED)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + text + b"\r\n  \n" + text.rstrip())
    done = explain("a.jsonl", "-", given=b"\xef\xbb\xbf\n" + text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rate_limited") == 3


@pytest.mark.parametrize("given", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_nothing_to_explain_is_wrong_usage(explain: Any, given: bytes) -> None:
    """Exit 2, with an example of a line; as JSON where that was asked for."""
    done = explain(given=given)
    assert done.returncode == 2
    assert "no response" in done.stderr
    assert '"status": 429' in done.stderr
    assert json.loads(explain("--json", given=given).stdout)["error"]["code"] == "usage"


def test_a_missing_file_is_said_before_anything_is_read(explain: Any) -> None:
    """Exit 2 with the path."""
    done = explain(str(DATA), "gone.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert "gone.jsonl" in done.stderr


def test_a_misspelt_option_is_no_file(explain: Any) -> None:
    """Exit 2, and it is called an option."""
    done = explain("--jsom", given=line_of(LIMITED))
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown option --jsom" in done.stderr


def test_a_hostile_text_cannot_write_on_the_terminal(explain: Any) -> None:
    """Escapes of a provider's message are not passed on, half characters do no harm."""
    body = {"error": {"message": "a\x1b[2Jb \ud800 c"}}
    done = explain(given=line_of({"provider": "x\x1b]0;", "status": 500, "body": body}))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout


def test_each_line_is_answered_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    """In a pipe the first answer is there before the second line comes."""
    with piped([*COMMAND, "--json"], tmp_path, environment) as pipe:
        bound = threading.Timer(60, pipe.process.kill)
        bound.start()
        for _ in range(2):
            pipe.stdin.write(line_of(LIMITED))
            pipe.stdin.flush()
            assert json.loads(pipe.stdout.readline())["class"] == "rate_limited"
        pipe.stdin.close()
        assert pipe.process.wait(60) == 0
        bound.cancel()


def test_a_reader_who_leaves_early_is_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    """As with ``| head -1``."""
    with piped([*COMMAND, "--json"], tmp_path, environment) as pipe:
        pipe.stdin.write(line_of(LIMITED))
        pipe.stdin.flush()
        pipe.stdout.readline()
        pipe.stdout.close()
        pipe.stdin.write(line_of(LIMITED) * 3)
        pipe.stdin.close()
        assert pipe.process.wait(60) == 0
        assert pipe.stderr.read() == b""


def test_a_line_of_100_mb_is_skipped_without_being_held(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """It streams past: the process grows by far less than the line is long."""
    code = (
        "import resource, sys; from headrace.cli.main import build_app;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "build_app()(['explain', '--json'], result_action='return_value');"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "sys.stderr.write(str((after - before) // 1024))"
    )
    with piped([sys.executable, "-c", code], tmp_path, environment) as pipe:
        pipe.stdin.write(b'{"body": "')
        for _ in range(100):
            pipe.stdin.write(b"x" * 1024**2)
        pipe.stdin.write(b'"}\n' + line_of(LIMITED))
        pipe.stdin.close()
        said = pipe.stderr.read().decode()
        assert json.loads(pipe.stdout.readline())["class"] == "rate_limited"
        assert "line 1: longer than 16 MiB" in said
        assert int(said.rsplit("\n", 1)[1]) < 64, said
