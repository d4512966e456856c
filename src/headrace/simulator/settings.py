"""The settings of the simulator: one tree, the same in a scenario file and in a reset's JSON."""

from __future__ import annotations

import math

import msgspec

from headrace.limits import DAY_S

SHAPES = ("anthropic", "openai", "replicate", "bfl", "queue", "fal", "gemini")
MEDIA = ("image", "video")
LIMITERS = ("bucket", "gcra", "fixed", "sliding", "subwindow", "day", "concurrency")
RETRY_AFTER = (
    "true",
    "seconds",
    "float",
    "ms",
    "date",
    "body",
    "text",
    "retryinfo",
    "none",
)
HEADERS = ("true", "none", "misleading")
FAULTS = (
    "429",
    "500",
    "502",
    "503",
    "529",
    "failed",
    "aborted",
    "reset_before",
    "reset_after",
    "reset_midway",
    "hang",
    "outage",
)
STRAY = "429"
CRASH_CLASSES = ("A", "B", "C", "D")
FOREVER_S = 1e12
"""TOML has ``inf``, JSON has not: a time that never comes."""


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One limit: ``amount`` per ``window_s``, enforced as ``kind`` says.

    ``burst`` is what a bucket holds (default: the amount) or what strict pacing lets
    through at once (default: 1; of tokens a sixth of the amount). ``sub_s`` is the
    length of the shorter windows of ``subwindow``; ``offset_s`` the beginning of a
    fixed window or day, from the first request; ``penalty_s`` shuts the lane after a
    refusal, with ``extends`` anew after each. Concurrency has an amount only.
    """

    dimension: str = "requests"
    kind: str = "bucket"
    amount: float = 60.0
    window_s: float | None = None
    burst: float | None = None
    sub_s: float = 1.0
    offset_s: float = 0.0
    penalty_s: float = 0.0
    extends: bool = False

    @property
    def span_s(self) -> float:
        """Return the window: as set, or a day or a minute."""
        if self.window_s is not None:
            return self.window_s
        return DAY_S if self.kind == "day" else 60.0


class LatencySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long calls take: half of them less than ``median_s``; all the same with sigma 0.

    The first ``cold_calls`` take ``cold_s`` longer; refusals and errors take
    ``refusal_s``. With ``slots`` the server works on so many calls at once and lets the
    others wait; beyond ``queue_max`` waiting ones it answers 503.
    """

    median_s: float = 0.5
    sigma: float = 0.0
    cold_calls: int = 0
    cold_s: float = 0.0
    refusal_s: float = 0.02
    slots: int | None = None
    queue_max: int | None = None


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``share`` of the calls that begin between two moments ends so; see ``FAULTS``.

    Moments are seconds after the first request. ``hang_s`` is how long a hanging call
    stays silent before its connection is reset. A 429 here is a stray one, for no limit: it
    names neither a limit nor a wait.
    """

    kind: str
    share: float = 1.0
    from_s: float = 0.0
    until_s: float = FOREVER_S
    hang_s: float = 30.0


class ChangeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From ``at_s`` to ``until_s`` limits are ``factor`` times themselves.

    Spans of changes to the same limits must not overlap.
    """

    at_s: float
    factor: float
    until_s: float = FOREVER_S
    dimension: str | None = None


class OtherSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another user of the same key, who would use ``share`` of every rate limit.

    It sends ``rate`` calls a second at random moments; without a rate, as many as its
    share of the requests limit. Each is in flight for ``holds_s``. When it ``insists``
    it has its share whatever others do; else its calls go away when refused.
    """

    share: float = 0.4
    rate: float | None = None
    holds_s: float = 0.0
    insists: bool = True
    from_s: float = 0.0
    until_s: float = FOREVER_S


class HeaderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which headers tell of the limits: ``true`` ones, ``none``, or ``misleading`` ones.

    Misleading headers announce ``factor`` times the limits; when ``stuck``, remaining
    never falls.
    """

    kind: str = "true"
    factor: float = 2.0
    stuck: bool = False


class OutputSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What successful calls give: PNGs of about ``image_bytes``, texts of ``text_tokens``.

    ``media``: what jobs give that do not say ``output = "video"`` themselves. A film is
    small, or has about ``film_bytes``.
    """

    media: str = "image"
    image_bytes: int = 200_000
    film_bytes: int = 0
    text_tokens: int = 40
    ttl_s: float = 3600.0


class BatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Batches of OpenAI's API: all lines of one are answered within ``duration_s``, in order.

    Of the lines ``expires_share`` never get their turn. The first ``full_creates`` are not
    taken, because too much is queued; the first ``reset_creates`` are made, and their
    answer is lost. ``silent_share`` of the lines are paid for and stand in no file.
    """

    duration_s: float = 5.0
    expires_share: float = 0.0
    silent_share: float = 0.0
    full_creates: int = 0
    reset_creates: int = 0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about the simulated provider.

    ``retry_after`` is the form in which a refusal tells its wait: ``true`` as the real
    provider does, or in one form alone. ``busy_wait_s`` is the wait told when only
    another call's end helps. ``states_limits``: a refusal's words state the amounts of the
    limit where the real provider's do; without, they only name it. ``refused_costs``:
    refused calls count as requests; ``refunds``: tokens reserved but not used come back.
    ``crash_class``: what a client can do about a call whose answer it never saw.
    ``budget_calls``: the money lasts for so many paid calls. ``api_key``: any other is
    refused; ``refuse_word``: prompts with it are refused for content. ``snapshots_s``:
    moments (after the first request) at which the state is kept for ``ideal?after_s=``.
    ``body_bytes_max`` caps requests, ``log_calls_max`` the calls kept in memory.
    """

    seed: int = 0
    shapes: tuple[str, ...] = SHAPES
    limits: tuple[LimitSettings, ...] = ()
    retry_after: str = "true"
    busy_wait_s: float = 1.0
    states_limits: bool = True
    headers: HeaderSettings = HeaderSettings()
    latency: LatencySettings = LatencySettings()
    faults: tuple[FaultSettings, ...] = ()
    changes: tuple[ChangeSettings, ...] = ()
    other: OtherSettings | None = None
    output: OutputSettings = OutputSettings()
    batches: BatchSettings = BatchSettings()
    crash_class: str = "D"
    refused_costs: bool = False
    refunds: bool = False
    budget_calls: int | None = None
    polls_per_min: float | None = None
    api_key: str = ""
    refuse_word: str = ""
    snapshots_s: tuple[float, ...] = ()
    body_bytes_max: int = 8_000_000
    log_calls_max: int = 1_000_000

    def refuses(self, prompt: str) -> bool:
        """Tell whether a prompt has the word that is refused."""
        return bool(self.refuse_word) and self.refuse_word in prompt


def forever(at_s: float) -> float:
    """Return ``at_s``, or ``inf`` where it stands for never."""
    return math.inf if at_s >= FOREVER_S else at_s
