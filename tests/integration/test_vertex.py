"""The vertex provider over real connections: signing in, what is sent, and how tokens are kept."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from headrace.clock import SystemClock
from headrace.errors import ConfigError, NotFoundError
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import CrashClass, Provider
from headrace.providers.google import account as google_account
from headrace.providers.google.account import GoogleAccount
from headrace.providers.google.vertex import VertexProvider
from headrace.providers.google.vertex_settings import read_vertex
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.conforming import SpokenConformance
from tests.integration.speaking import Answer, Heard, Speaker, http, says, speaking
from tests.integration.test_gemini import LARGE_PNG, RECORDED, said, whole

CLOCK = SystemClock()
FINE = said({"text": "fine"})
REJECTED = {"error": {"code": 401, "message": "Request had invalid credentials."}}


@pytest.fixture(scope="session")
def private_key() -> str:
    """A key as a service account's file holds it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def gives(token: str, expires_in: int = 3600) -> Answer:
    return says({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"})


@dataclass
class Scene:
    """A token server, Vertex AI, and the provider that goes between them."""

    tokens: Speaker
    api: Speaker
    provider: VertexProvider
    file: Path

    def sent_tokens(self) -> list[str]:
        return [heard.headers["authorization"] for heard in self.api.heard]


@asynccontextmanager
async def signed_in(
    folder: Path,
    private_key: str,
    *answers: Answer,
    tokens: tuple[Answer, ...] = (),
    known: bool = True,
    **table: Any,
) -> AsyncIterator[Scene]:
    """A scene with the file of a service account; ``known``: its token server is named."""
    async with (
        speaking(*(tokens or (gives("ya29.first-token"),))) as server,
        speaking(*(answers or (says(FINE),))) as api,
    ):
        host = f"127.0.0.1:{server.port}"
        account = {
            "type": "service_account",
            "project_id": "the-project",
            "private_key_id": "id-1",
            "private_key": private_key,
            "client_email": "who@the-project.iam.gserviceaccount.com",
            "token_uri": f"http://{host}/token",
        }
        file = folder / "account.json"
        file.write_text(json.dumps(account), "utf-8")
        settings = {
            "base_url": f"http://127.0.0.1:{api.port}",
            "credentials_file": str(file),
            "token_hosts": [host] if known else [],
            **table,
        }
        provider = VertexProvider.from_config("cloud", settings, CLOCK)
        try:
            yield Scene(server, api, provider, file)
        finally:
            await provider.close()


def ask(model: str = "gemini-x", **params: Any) -> Request:
    return Request("cloud", model, "1", {"prompt": "A card", **params})


async def bought(scene: Scene, request: Request | None = None) -> bytes:
    desk = CallDesk()
    return desk.body_of(await scene.provider.call(desk.call(request or ask())))


async def fails(scene: Scene, deadline_s: float = 30) -> Outcome:
    with pytest.raises(CallFailed) as caught:
        await scene.provider.call(CallDesk(deadline_s=deadline_s).call(ask()))
    assert caught.value.__cause__ is None
    shown = repr(caught.value.outcome)
    assert "ya29" not in shown
    assert "PRIVATE KEY" not in shown
    return caught.value.outcome


# -- signing in ------------------------------------------------------------------------------------


async def test_an_account_is_exchanged_for_a_token_that_calls_carry(
    tmp_path: Path, private_key: str
) -> None:
    """A signed claim goes to the token server, the token to Vertex, the key nowhere."""
    async with signed_in(tmp_path, private_key) as scene:
        await scene.provider.open()
        results = await asyncio.gather(*[bought(scene, ask(seed=n)) for n in range(20)])
        assert results == [b"fine"] * 20
        assert len(scene.tokens.heard) == 1
        form = parse_qs(scene.tokens.heard[0].body.decode())
        claim = form["assertion"][0].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(claim + "=" * (-len(claim) % 4)))
        assert claims["iss"] == "who@the-project.iam.gserviceaccount.com"
        assert "cloud-platform" in claims["scope"]
        assert set(scene.sent_tokens()) == {"Bearer ya29.first-token"}
        assert scene.api.heard[0].path == (
            "/v1beta1/projects/the-project/locations/global"
            "/publishers/google/models/gemini-x:generateContent"
        )
        assert "x-goog-api-key" not in scene.api.heard[0].headers
        assert "x-goog-user-project" not in scene.api.heard[0].headers
        assert private_key[40:80] not in str(scene.api.heard) + str(scene.tokens.heard)


async def test_a_rejected_token_is_fetched_anew_once(tmp_path: Path, private_key: str) -> None:
    """401 was not done, so that it may be sent again: once, with another token."""
    fetched = (gives("ya29.first-token"), gives("ya29.second-token"))
    async with signed_in(
        tmp_path, private_key, says(REJECTED, 401), says(FINE), tokens=fetched
    ) as scene:
        assert await bought(scene) == b"fine"
        assert scene.sent_tokens() == ["Bearer ya29.first-token", "Bearer ya29.second-token"]
    async with signed_in(tmp_path, private_key, says(REJECTED, 401)) as scene:
        assert (await fails(scene)).kind is OutcomeKind.AUTH
        assert len(scene.api.heard) == 2
    async with signed_in(tmp_path, private_key, says(REJECTED, 403)) as scene:
        assert (await fails(scene)).kind is OutcomeKind.AUTH
        assert len(scene.api.heard) == 1


async def test_a_token_that_a_server_quotes_is_not_repeated(
    tmp_path: Path, private_key: str
) -> None:
    """A token of any form is struck out of what an answer says."""
    quoted = says({"error": {"code": 400, "message": "odd header: plain.token.7"}}, 400)
    tokens = (gives("plain.token.7"),)
    async with signed_in(tmp_path, private_key, quoted, tokens=tokens) as scene:
        outcome = await fails(scene)
    assert "plain.token" not in repr(outcome)
    assert "[token]" in outcome.reason


TOKEN_FAULTS: dict[str, tuple[Answer, OutcomeKind]] = {
    "taken back": (
        says({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400),
        OutcomeKind.AUTH,
    ),
    "html": (says(b"<html>Sign in to the hotel</html>"), OutcomeKind.TRANSIENT),
    "a list": (says(b"[1, 2]"), OutcomeKind.TRANSIENT),
    "no token": (says({"expires_in": 3600}), OutcomeKind.AUTH),
    "a token of numbers": (says({"access_token": 5, "expires_in": 3600}), OutcomeKind.TRANSIENT),
    "a token with a line": (says({"access_token": "a\r\nb: c", "expires_in": 9}),
                            OutcomeKind.TRANSIENT),
    "odd life": (says({"access_token": "x", "expires_in": "soon"}), OutcomeKind.TRANSIENT),
    "endless life": (says({"access_token": "x", "expires_in": 10**30}), OutcomeKind.TRANSIENT),
    "a redirect": (says(b"", 302, {"Location": "http://127.0.0.1:9/"}), OutcomeKind.AUTH),
}  # fmt: skip


@pytest.mark.parametrize("name", TOKEN_FAULTS)
async def test_without_a_token_nothing_is_sent(name: str, tmp_path: Path, private_key: str) -> None:
    """What a token server may say: a refusal stops the batch, all else is tried again."""
    answer, kind = TOKEN_FAULTS[name]
    async with signed_in(tmp_path, private_key, tokens=(answer,)) as scene:
        outcome = await fails(scene)
        assert outcome.kind is kind, outcome
        assert outcome.remedy
        assert scene.api.heard == []


async def test_a_key_goes_to_no_unknown_token_server(tmp_path: Path, private_key: str) -> None:
    """An account's file names its own server; only Google's and named ones are talked to."""
    async with signed_in(tmp_path, private_key, known=False) as scene:
        outcome = await fails(scene)
        assert outcome.kind is OutcomeKind.TRANSIENT
        assert "no token server" in outcome.reason
        assert scene.tokens.heard == []


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("https://oauth2.googleapis.com/token", True),
        ("https://iamcredentials.googleapis.com/v1/x", True),
        ("http://169.254.169.254/computeMetadata/v1/", True),
        ("http://metadata.google.internal/x", True),
        ("http://named.example:8080/t", True),
        ("http://oauth2.googleapis.com/token", False),
        ("https://evilgoogleapis.com/token", False),
        ("https://googleapis.com.evil.example/", False),
        ("file:///etc/passwd", False),
        ("ftp://169.254.169.254/x", False),
    ],
)
def test_where_keys_may_be_exchanged(address: str, may: bool) -> None:
    """Google's own over TLS, the machine's metadata, and what the owner named."""
    assert google_account._Talk(("named.example",))._may_go(address) is may


async def test_a_token_server_that_is_silent_costs_only_the_deadline(
    tmp_path: Path, private_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a token ends with the call's own time, and nothing was sent."""
    monkeypatch.setattr(google_account, "TALK_S", 0.6)
    found: list[Speaker] = []

    async def silent(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await found[0].over.wait()

    async with signed_in(tmp_path, private_key, tokens=(silent,)) as scene:
        found.append(scene.tokens)
        outcome = await fails(scene, deadline_s=0.2)
        assert outcome.kind is OutcomeKind.TIMEOUT
        assert (await fails(scene)).kind is OutcomeKind.TRANSIENT
        assert scene.api.heard == []


# -- other ways to sign in -------------------------------------------------------------------------


async def test_a_ready_token_needs_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """access_token_env: sent as it is; rejected, it is not sent again."""
    monkeypatch.setenv("MY_TOKEN", "ready-made-token")
    async with speaking(says(FINE), says({"error": {"message": "ready-made-token"}}, 401)) as api:
        table = {
            "base_url": f"http://127.0.0.1:{api.port}",
            "access_token_env": "MY_TOKEN",
            "project": "p-1",
            "location": "us-central1",
            "quota_project": "payer-1",
        }
        provider, desk = VertexProvider.from_config("cloud", table, CLOCK), CallDesk()
        await provider.open()
        assert await provider.probe() is None
        await provider.call(desk.call(ask()))
        with pytest.raises(CallFailed) as caught:
            await provider.call(desk.call(ask()))
        await provider.close()
    assert "ready-made" not in repr(caught.value.outcome)
    assert "ready-made" not in repr(provider.remote) + repr(provider._settings)
    assert caught.value.outcome.kind is OutcomeKind.AUTH
    assert len(api.heard) == 2
    assert api.heard[0].headers["authorization"] == "Bearer ready-made-token"
    assert api.heard[0].headers["x-goog-user-project"] == "payer-1"
    assert "/projects/p-1/locations/us-central1/" in api.heard[0].path


async def test_the_machines_account_is_used_where_none_is_named(
    tmp_path: Path, private_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Application default credentials: the project and who pays come from around, too."""
    async with signed_in(tmp_path, private_key) as scene:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(scene.file))
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "their-payer")
        account = GoogleAccount("", ("127.0.0.1",), "[providers.cloud]", CLOCK)
        table = {"base_url": str(scene.provider.remote.base_url), "project": ""}
        settings = read_vertex("cloud", {**table, "credentials_file": "x"}, {})
        provider = VertexProvider(settings, name="cloud", clock=CLOCK, account=account)
        try:
            probe = await provider.probe()
            await provider.call(CallDesk().call(ask()))
        finally:
            await provider.close()
        assert probe is not None
        assert probe.kind is OutcomeKind.SUCCESS
        assert len(scene.tokens.heard) == 1
        assert scene.sent_tokens() == ["Bearer ya29.first-token"]
        assert scene.api.heard[0].headers["x-goog-user-project"] == "their-payer"
        assert "/projects/the-project/" in scene.api.heard[0].path


def alone(monkeypatch: pytest.MonkeyPatch, folder: Path, metadata: str) -> GoogleAccount:
    """The account of a machine where nobody signed in; ``metadata`` is where its server is."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(folder))
    monkeypatch.setenv("GCE_METADATA_HOST", metadata)
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # to google-auth: the look is ours
    return GoogleAccount("", (), "[providers.cloud]", CLOCK)


FLAVOR = {"Metadata-Flavor": "Google"}


async def test_a_machine_in_googles_cloud_is_signed_in_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata server tells project and token; it is known by its header."""
    project = says(b"cloud-project\n", headers=FLAVOR)
    async with speaking(project, gives("ya29.of-a-machine")) as metadata:
        account = alone(monkeypatch, tmp_path, f"127.0.0.1:{metadata.port}")
        assert await asyncio.to_thread(account.load) == "cloud-project"
        minted = await asyncio.to_thread(account.mint)
    assert minted.token == "ya29.of-a-machine"
    assert minted.expires_at is not None
    assert 3500 < (minted.expires_at - CLOCK.now()).total_seconds() <= 3600
    assert {heard.headers["metadata-flavor"] for heard in metadata.heard} == {"Google"}
    assert metadata.heard[1].path.endswith("/instance/service-accounts/default/token")


@pytest.mark.parametrize(
    "answer",
    [says({}, 403), says(b"[]"), says({"access_token": "x"}), says({"expires_in": 1e400})],
    ids=["403", "a list", "no life", "endless"],
)
async def test_an_odd_metadata_server_is_tried_again(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it says, the call ends with an outcome and nothing was sent."""
    async with speaking(says(b"p", headers=FLAVOR), answer) as metadata:
        account = alone(monkeypatch, tmp_path, f"127.0.0.1:{metadata.port}")
        with pytest.raises(CallFailed) as caught:
            await asyncio.to_thread(account.mint)
    assert caught.value.outcome.kind is OutcomeKind.TRANSIENT


async def test_a_machine_that_nobody_signed_in_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No metadata server, or another's: the error names both ways to sign in."""
    async with speaking(says(b"<html>hotel</html>")) as hotel:
        for host in (f"127.0.0.1:{hotel.port}", "127.0.0.1:9"):
            account = alone(monkeypatch, tmp_path, host)
            with pytest.raises(ConfigError, match="application-default login"):
                await asyncio.to_thread(account.load)


async def test_a_server_on_this_machine_needs_no_account() -> None:
    """A simulator is spoken to without a token; the project has to be named."""
    async with speaking(says(FINE)) as api:
        table = {"base_url": f"http://127.0.0.1:{api.port}", "project": "p"}
        provider = VertexProvider.from_config("cloud", table, CLOCK)
        await provider.open()
        await provider.call(CallDesk().call(ask()))
        await provider.close()
    assert "authorization" not in api.heard[0].headers


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"type": "authorized_user"}', "nonsense"])
async def test_a_file_that_is_no_key_is_said_before_the_batch(content: str, tmp_path: Path) -> None:
    """The error names the setting and the way for accounts of other kinds."""
    file = tmp_path / "account.json"
    file.write_text(content, "utf-8")
    provider = VertexProvider.from_config("cloud", {"credentials_file": str(file)}, CLOCK)
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        await provider.open()
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await provider.open()


def test_without_google_auth_the_remedy_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional part is named; a ready-made token works without it."""
    monkeypatch.setattr(google_account, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"headrace\[google\]"):
        VertexProvider.from_config("cloud", {}, CLOCK)
    VertexProvider.from_config("cloud", {"access_token_env": "T", "project": "p"}, CLOCK)


BAD_TABLES: list[tuple[dict[str, Any], str]] = [
    ({"api_key": "AIza"}, "accounts, not keys"),
    ({"location": "us central1"}, "not a location"),
    ({"location": "evil.example/"}, "not a location"),
    ({"project": "My Project"}, "not the id"),
    ({"project": "a/../b"}, "not the id"),
    ({"credentials_file": "x", "access_token_env": "T", "project": "p"}, "two accounts"),
    ({"access_token_env": "T"}, "project is not known"),
    ({"base_url": "http://127.0.0.1:9"}, "project is not known"),
    ({"api_version": "beta"}, "not a version"),
    ({"projet": "p"}, "Did you mean 'project'"),
]


@pytest.mark.parametrize(("table", "words"), BAD_TABLES)
def test_a_wrong_table_is_said(table: dict[str, Any], words: str) -> None:
    """Every wrong setting has its place and remedy."""
    with pytest.raises(ConfigError) as caught:
        read_vertex("cloud", table, {})
    assert words in str(caught.value)
    assert "[providers.cloud]" in caught.value.place


def test_hosts_follow_the_location() -> None:
    """Global and regional hosts; a missing token is said when the provider opens."""
    regional = read_vertex("cloud", {"location": "europe-west4"}, {})
    assert str(regional.remote.base_url) == "https://europe-west4-aiplatform.googleapis.com"
    assert regional.remote.is_official, "list prices hold in every region"
    assert str(read_vertex("cloud", {}, {}).remote.base_url) == "https://aiplatform.googleapis.com"
    env = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "us-east1", "T": "a b"}
    assert read_vertex("cloud", {}, env).location == "us-east1"
    with pytest.raises(ConfigError, match="holds no token"):
        read_vertex("cloud", {"access_token_env": "T"}, env)
    provider = VertexProvider.from_config("c", {"access_token_env": "NO_T", "project": "p"}, CLOCK)
    with pytest.raises(NotFoundError):
        provider.version("tunedModels/x")


async def test_a_missing_ready_token_is_said_at_the_start() -> None:
    """The error names the variable."""
    provider = VertexProvider.from_config("c", {"access_token_env": "NO_T", "project": "p"}, CLOCK)
    with pytest.raises(ConfigError, match="NO_T"):
        await provider.open()


# -- calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["image of vertex", "image of vertex in a chosen format"])
async def test_recorded_images(name: str, tmp_path: Path, private_key: str) -> None:
    """What was recorded is asked in the same words, and its image is the result."""
    recorded = RECORDED[name]
    config = recorded["asked"]["generationConfig"]
    request = Request(
        "cloud",
        "gemini-2.5-flash-image",
        "1",
        {"prompt": recorded["asked"]["contents"][0]["parts"][0]["text"], "config": config},
    )
    answer = says(whole(recorded["answered"], LARGE_PNG))
    async with signed_in(tmp_path, private_key, answer, project="a-project") as scene:
        assert await bought(scene, request) == LARGE_PNG
        assert scene.api.heard[0].path == recorded["path"]
        assert scene.api.heard[0].json == recorded["asked"]


async def test_a_shared_quota_gives_no_hint(tmp_path: Path, private_key: str) -> None:
    """429 of the dynamic shared quota: wait and go slower, nobody says how long."""
    message = "Resource exhausted. Please try again later."
    error = {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}}
    async with signed_in(tmp_path, private_key, says(error, 429)) as scene:
        outcome = await fails(scene)
    assert (outcome.kind, outcome.wait_s) == (OutcomeKind.RATE_LIMITED, None)


class TestConformance(SpokenConformance):
    """The promises of every provider, over a real connection."""

    unknown_model = "another"
    refusal = http(said(finish="SAFETY"))

    def calling(self, speaker: Speaker) -> Provider:
        table = {"base_url": speaker.origin, "project": "p"}
        provider = VertexProvider.from_config("cloud", {**table, "models": ["gemini-x"]}, CLOCK)
        assert provider.crash_class is CrashClass.BLIND
        return provider

    def result(self, number: int) -> bytes:
        return http(said({"text": f"text {number}"}))

    def make_request(self, provider: Provider, number: int) -> Request:
        return ask(seed=number)

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")
