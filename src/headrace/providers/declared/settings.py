"""An API described in a TOML table: what is sent, where the result lies, what errors mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import ConfigError, HeadraceError
from headrace.nearest import did_you_mean
from headrace.outcome import OutcomeKind
from headrace.provider import CrashClass
from headrace.providers.remote.media import ANY, FILMS, IMAGES, SOUNDS
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote
from headrace.recipe import Template
from headrace.tree import Tree

MORE = ("auth", "auth_prefix", "headers", "hosts", "lane", "crash_class", "request", "answer")
TABLES = ("job", "errors")
MEDIA = {"image": IMAGES, "video": FILMS, "audio": SOUNDS, "any": ANY}
FORMS = ("url", "base64", "text", "json", "body")
SENT_AS = ("json", "multipart", "form")
CLASSES = {
    "pure": CrashClass.PURE,
    "A": CrashClass.KEYED,
    "C": CrashClass.POLLED,
    "D": CrashClass.BLIND,
}
ENDINGS = {kind.value: kind for kind in OutcomeKind if kind is not OutcomeKind.SUCCESS}

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_FORBIDDEN = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection"}
)

Path = tuple[str, ...]


@dataclass(frozen=True)
class Sending:
    """How a call is made: ``body`` is ``None`` where all params are sent as they are."""

    method: str
    path: Template
    query: Tree | None
    body: Tree | None
    form: str
    defaults: dict[str, Any]
    key_header: str


@dataclass(frozen=True)
class Taking:
    """Where the result lies in an answer, in which form, and what else is told."""

    form: str
    result: Path
    wanted: frozenset[str]
    id: Path
    cost: Path
    cost_usd_each: float
    wait: Path
    usage: Path


@dataclass(frozen=True)
class Asking:
    """How a job that was taken in is looked at: by an address in the answer, or by a path."""

    url: Path
    path: Template | None
    status: Path
    done: frozenset[str]
    result_url: Path
    per_minute: float


@dataclass(frozen=True)
class Ending:
    """A rule: an answer of one of ``statuses`` (any, when empty) that says so ends as ``kind``."""

    statuses: frozenset[int]
    at: Path
    exactly: str | None
    has: str | None
    kind: OutcomeKind


@dataclass(frozen=True)
class Declared:
    """An API as a table describes it; ``headers`` go along with each call, the key's not shown."""

    remote: RemoteSettings
    auth: str
    auth_prefix: str
    headers: dict[str, str]
    lane: str
    sending: Sending
    taking: Taking
    asking: Asking | None
    endings: tuple[Ending, ...]


class _Part:
    """One of the inner tables, read key by key."""

    def __init__(self, table: Any, place: str, known: tuple[str, ...]) -> None:
        if not isinstance(table, Mapping):
            raise ConfigError(f"must be a table, not {table!r}", place=place)
        for key in table:
            if key not in known:
                raise ConfigError(
                    f"unknown key {key!r}", place=place, remedy=did_you_mean(str(key), known)
                )
        self._table, self.place = table, place

    def get(self, key: str) -> Any:
        return self._table.get(key)

    def wrong(self, key: str, what: str, remedy: str = "") -> ConfigError:
        return ConfigError(what, place=f"{self.place} {key}", remedy=remedy)

    def text(self, key: str, default: str = "") -> str:
        value = self._table.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, f"must be text, not {value!r}")
        return value

    def choice(self, key: str, options: tuple[str, ...] | list[str], default: str) -> str:
        value = self.text(key, default)
        if value not in options:
            raise self.wrong(key, f"{value!r} is not known", did_you_mean(value, options))
        return value

    def path(self, key: str) -> Path:
        text = self.text(key)
        parts = tuple(text.split(".")) if text else ()
        if not all(parts):
            raise self.wrong(key, f"{text!r} is not a path", 'Write it like "data.0.url".')
        return parts

    def template(self, key: str, default: str | None = None) -> Template | None:
        text = self.text(key) if default is None else self.text(key, default)
        try:
            return Template(text, f"{self.place} {key}") if text else None
        except HeadraceError as error:
            raise self.wrong(key, error.message, error.remedy) from error

    def tree(self, key: str) -> Tree | None:
        value = self._table.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, f"must be a table, not {value!r}")
        try:
            return Tree(value, f"{self.place} {key}")
        except HeadraceError as error:
            raise self.wrong(key, error.message, error.remedy) from error

    def number(self, key: str, default: float) -> float:
        value = self._table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise self.wrong(key, f"{value!r} is not a number above zero")
        return float(value)


def read_declared(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Declared:
    """Return what ``[providers.<name>]`` describes; raises ``ConfigError`` with the place."""
    read = Table(name, table, (*MORE, *TABLES), environment)
    if not read.text("base_url"):
        raise ConfigError(
            "the setting 'base_url' is missing",
            place=read.place,
            remedy='Add base_url = "https://api.example.com/v1".',
        )
    asking = _asking(_Part(read.get("job"), read.at("job"), _JOB)) if read.get("job") else None
    default = CrashClass.POLLED if asking is not None else CrashClass.BLIND
    letter = read.choice("crash_class", CLASSES, "")
    api = Api(
        kind="http",
        base_url=read.text("base_url"),
        base_url_env="",
        key_env="",
        crash_class=CLASSES[letter] if letter else default,
        hosts=read.names("hosts"),
    )
    auth = _header_name(read.text("auth", "Authorization"), read.at("auth"))
    prefix = "Bearer " if auth.lower() == "authorization" else ""
    declared = Declared(
        remote=read_remote(read, api),
        auth=auth,
        auth_prefix=_header_value(read.get("auth_prefix"), prefix, read.at("auth_prefix")),
        headers=_headers(read.get("headers"), auth, read.at("headers")),
        lane=read.choice("lane", ("model", "account"), "model"),
        sending=_sending(_Part(read.get("request") or {}, read.at("request"), _REQUEST)),
        taking=_taking(_Part(read.get("answer") or {}, read.at("answer"), _ANSWER)),
        asking=asking,
        endings=_endings(read.get("errors"), read.at("errors")),
    )
    _check_whole(declared, read)
    return declared


_REQUEST = ("method", "path", "query", "body", "sent_as", "defaults", "key_header")
_ANSWER = ("result", "as", "media", "id", "cost", "cost_usd_each", "wait", "usage")
_JOB = ("url", "path", "status", "done", "result_url", "per_minute")
_ERROR = ("status", "at", "is", "has", "class")


def _sending(part: _Part) -> Sending:
    body, defaults = part.get("body"), part.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise part.wrong("defaults", f"must be a table, not {defaults!r}")
    path = part.template("path", "")
    return Sending(
        method=part.choice("method", ("POST", "GET"), "POST"),
        path=path or Template(""),
        query=part.tree("query"),
        body=None if body in (None, "params") else part.tree("body"),
        form=part.choice("sent_as", SENT_AS, "json"),
        defaults=defaults,
        key_header=_header_name(part.text("key_header", "Idempotency-Key"), part.place),
    )


def _taking(part: _Part) -> Taking:
    result = part.path("result")
    form = part.choice("as", FORMS, "url" if result else "body")
    if form != "json" and bool(result) == (form == "body"):
        wanted = "needs the path of the result" if not result else "has no path of a result"
        raise part.wrong("result", f'as = "{form}" {wanted}', 'For example result = "data.0.url".')
    return Taking(
        form=form,
        result=result,
        wanted=MEDIA[part.choice("media", [*MEDIA], "image")],
        id=part.path("id"),
        cost=part.path("cost"),
        cost_usd_each=part.number("cost_usd_each", 1.0),
        wait=part.path("wait"),
        usage=part.path("usage"),
    )


def _asking(part: _Part) -> Asking:
    url, path = part.path("url"), part.template("path")
    done = part.get("done")
    if (not url) == (path is None):
        raise part.wrong("url", "a job is looked at by one of url and path", 'url = "status_url"')
    if not isinstance(done, list) or not done or not all(isinstance(one, str) for one in done):
        raise part.wrong("done", f"must be a list of words, not {done!r}", 'done = ["succeeded"]')
    status = part.path("status")
    if not status:
        raise part.wrong("status", "the path of the job's status is missing", 'status = "status"')
    return Asking(
        url=url,
        path=path,
        status=status,
        done=frozenset(done),
        result_url=part.path("result_url"),
        per_minute=part.number("per_minute", 300.0),
    )


def _endings(rules: Any, place: str) -> tuple[Ending, ...]:
    if rules is None:
        return ()
    if not isinstance(rules, list):
        raise ConfigError("must be a list of tables", place=place, remedy="[[providers.x.errors]]")
    return tuple(_ending(_Part(rule, f"{place} {n}", _ERROR)) for n, rule in enumerate(rules, 1))


def _ending(part: _Part) -> Ending:
    status = part.get("status")
    statuses = status if isinstance(status, list) else [] if status is None else [status]
    if not all(type(one) is int and 100 <= one <= 999 for one in statuses):
        raise part.wrong("status", f"{status!r} is not an HTTP status, or a list of them")
    exactly, has = part.get("is"), part.get("has")
    if isinstance(exactly, bool | int | float):
        exactly = _spoken(exactly)
    if not isinstance(exactly, str | None) or not isinstance(has, str | None):
        raise part.wrong("is", "must be text, a number, true or false")
    at = part.path("at")
    if not at and (exactly is not None or has is not None):
        raise part.wrong("at", "the path that 'is' and 'has' look at is missing")
    if not at and not statuses:
        raise part.wrong("status", "a rule without a status and a path would fit every answer")
    word = part.choice("class", [*ENDINGS], "")
    return Ending(frozenset(statuses), at, exactly, has, ENDINGS[word])


def _spoken(value: Any) -> str:
    """Return a JSON scalar as a rule's ``is`` writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _headers(table: Any, auth: str, place: str) -> dict[str, str]:
    if table is None:
        return {}
    if not isinstance(table, Mapping):
        raise ConfigError("must be a table", place=place, remedy='{ Accept = "image/*" }')
    headers = {}
    for name, value in table.items():
        if name.lower() == auth.lower():
            raise ConfigError(f"{name} carries the key", place=place, remedy="Use api_key_env.")
        headers[_header_name(name, place)] = _header_value(value, "", f"{place} {name}")
    return headers


def _header_name(name: str, place: str) -> str:
    if _HEADER.fullmatch(name) is None or name.lower() in _FORBIDDEN:
        raise ConfigError(f"{name!r} cannot be set as a header", place=place)
    return name


def _header_value(value: Any, default: str, place: str) -> str:
    text = default if value is None else value
    if not isinstance(text, str) or not text.isascii() or (text and not text.isprintable()):
        raise ConfigError("must be plain text of one line", place=place)
    return text


def _check_whole(declared: Declared, read: Table) -> None:
    form = declared.taking.form
    if declared.asking is not None and not declared.taking.id:
        raise ConfigError(
            "a job needs its id, so that it is followed and not bought again after a crash",
            place=f"{read.at('answer')} id",
            remedy='id = "id"',
        )
    if declared.remote.crash_class is CrashClass.POLLED and declared.asking is None:
        raise ConfigError(
            "class C is for jobs that are followed by their id",
            place=read.at("crash_class"),
            remedy="Describe the job: [providers.x.job].",
        )
    if declared.asking is not None and not declared.asking.result_url and form == "body":
        raise ConfigError(
            "a job's result is not the body of its submission",
            place=f"{read.at('answer')} as",
            remedy='as = "url", or the job\'s result_url',
        )
    sending = declared.sending
    if sending.method == "GET" and (sending.body is not None or sending.form != "json"):
        raise ConfigError("a GET has no body", place=read.at("request"), remedy="Use query.")
