"""Why a call failed: tables of codes, words and statuses, one for every provider's own ways."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from headrace.answer import Answer
from headrace.limits import Dimension
from headrace.stated import asks_too_much, quota_violations
from headrace.waits import TEXT_WAIT, dig, find_wait, moment_of

INSIDE = 200
"""Stands for the status of a failure that was told inside of a successful answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: its class word, and where that was found if its status misleads.

    ``ramp``: the rate rose too fast. ``waits``: a wait that the answer names is worth
    something; not so for a day's quota or for money. ``retry`` overrules the word's own.
    ``large``: one call is larger than its whole limit, so that no wait helps it.
    """

    word: str
    found: str | None = None
    ramp: bool = False
    waits: bool = True
    retry: bool | None = None
    large: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of a table: all that is given must hold, and then the verdict does.

    ``codes``: one of them is said (in ``place``, if that is given). ``text`` is found in
    the answer's words, ``unless`` is not. ``header`` has that value; there is something
    under ``path`` of the body. ``tells``: the code's place is where the class was found.
    """

    verdict: Verdict
    statuses: frozenset[int] | None = None
    codes: frozenset[str] = frozenset()
    place: str | None = None
    text: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    header: tuple[str, str] | None = None
    path: tuple[str, ...] = ()
    tells: bool = False

    def judge(self, answer: Answer) -> Verdict | None:
        """Return the verdict if the rule applies to the answer."""
        if self.statuses is not None and answer.status not in self.statuses:
            return None
        place = self._place(answer) if self.codes else ""
        if place is None or not (self._has_parts(answer) and self._has_words(answer)):
            return None
        return replace(self.verdict, found=place) if self.tells and place else self.verdict

    def _place(self, answer: Answer) -> str | None:
        """Where one of the codes is said, ``None`` if none is."""
        places = (answer.codes[code] for code in answer.codes if code in self.codes)
        return next((place for place in places if self.place in (None, place)), None)

    def _has_parts(self, answer: Answer) -> bool:
        if self.header is not None:
            name, value = self.header
            if answer.headers.get(name, "").strip().lower() != value:
                return False
        return not self.path or dig(answer.body, *self.path) is not None

    def _has_words(self, answer: Answer) -> bool:
        if self.text is not None and self.text.search(answer.text) is None:
            return False
        return self.unless is None or self.unless.search(answer.text) is None


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I | re.A)


def _on(*statuses: int) -> frozenset[int]:
    return frozenset((*statuses, INSIDE))


def _codes(words: str) -> frozenset[str]:
    return frozenset(words.split())


REFUSED, INVALID, AUTH = Verdict("refused"), Verdict("invalid"), Verdict("auth")
RATE_LIMITED, OVERLOADED = Verdict("rate_limited"), Verdict("overloaded")
TRANSIENT, TIMEOUT = Verdict("transient"), Verdict("timeout")
NOT_FOUND, LOST, NO_OUTPUT = Verdict("not_found"), Verdict("lost_result"), Verdict("no_output")
UNKNOWN_OUTCOME = Verdict("unknown_outcome")
NO_MONEY = Verdict("quota_exhausted", waits=False)
NO_QUOTA = Verdict("quota_exhausted")
TOO_LARGE = Verdict("invalid", "error text", large=True)

REFUSED_CODES = _codes(
    "content_policy_violation moderation_blocked content_filter content_filtered "
    "content_moderation content_policy responsibleaipolicyviolation safety image_safety "
    "prohibited_content sensitive_content nsfw_content_detected safety_violation"
)
MONEY_CODES = _codes(
    "insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded "
    "project_spend_limit_exceeded organization_usage_limit_exceeded billing_hard_limit_reached "
    "billing_not_active enforced_spend_limit_reached contract_spend_limit_reached "
    "linked_organization_spend_limit_reached insufficient_credits insufficient_funds "
    "insufficient_balance insufficient_credit payment_required billing_error account_locked "
    "budget_exceeded"
)
RAMP_CODES = _codes("slow_down ramp_limit_exceeded")
OVERLOAD_CODES = _codes(
    "overloaded_error server_is_overloaded engine_overloaded model_capacity_exhausted overloaded "
    "server_overloaded"
)
KEY_CODES = _codes("invalid_api_key api_key_invalid api_key_expired incorrect_api_key")
# Codes that the status of an error repeats; they decide where there is no such status.
CODE_VERDICTS = (
    ("rate_limit_exceeded rate_limit_error rate_limited resource_exhausted", RATE_LIMITED),
    ("throttling_error too_many_requests rate_limit tokens requests input-images", RATE_LIMITED),
    ("authentication_error permission_error unauthenticated permission_denied", AUTH),
    ("unauthorized forbidden", AUTH),
    ("not_found_error not_found model_not_found", NOT_FOUND),
    ("unavailable service_unavailable_error service_unavailable", OVERLOADED),
    ("timeout_error deadline_exceeded generation_timeout request_timeout timeout", TIMEOUT),
    ("startup_timeout", TIMEOUT),
    ("invalid_request_error invalid_argument failed_precondition out_of_range", INVALID),
    ("request_too_large context_length_exceeded bad_request unprocessable_entity", INVALID),
    ("image_too_large image_too_small image_load_error file_download_error", INVALID),
    ("file_too_large value_error missing", INVALID),
    ("no_media_generated", NO_OUTPUT),
)

REFUSED_TEXT = _words(
    r"\b(?:rejected|blocked|refused|denied|flagged|filtered)\b.{0,60}\b(?:safety|content policy|"
    r"content filter|content check|content moderation|moderation|nsfw|sensitive|inappropriate|"
    r"usage guidelines)",
    r"\b(?:safety system|safety filters?|content (?:policy|filter|checker|moderation)|moderation)"
    r"\b.{0,60}\b(?:rejected|blocked|refused|denied|flagged|filtered|violat\w{1,6}|triggered)",
    r"\bviolat(?:es?|ed|ing|ion)\b.{0,80}\b(?:polic(?:y|ies)|guidelines|terms of (?:use|service))",
    r"\bnsfw (?:content|image|output)s?\b.{0,40}\bdetected|\bE005\b",
    r"\bprohibited content\b|\bContentPolicyViolation",
)
KEY_TEXT = _words(
    r"\bapi[ _-]?key\b.{0,20}\b(?:not valid|invalid|not found|missing|expired|incorrect|required)",
    r"\b(?:invalid|incorrect|missing|expired|unknown)\b.{0,20}\bapi[ _-]?key\b",
    r"\bvalid authentication token\b|\binvalid (?:authentication|credentials)\b",
)
MONEY_TEXT = _words(
    r"\b(?:credit )?balance (?:is )?too low\b|\bexhausted balance\b|\bno active plan\b",
    r"\binsufficient (?:credits?|funds|balance|quota)\b|\bbilling hard limit\b",
    r"\b(?:out of|not enough|no (?:more|remaining)|run out of) credits?\b",
    r"\bspend(?:ing)? limit (?:has been |was |is )?(?:exceeded|reached)\b",
)
# "You exceeded your current quota" is OpenAI's for money, and Google's for any limit at all.
SPENT_TEXT = _words(r"\bexceeded your current quota\b")
GOOGLE_TEXT = _words(r"retry in \d", r"retryDelay", r"quota exceeded for metric", r"googleapis")
PERIOD_TEXT = _words(
    r"\b(?:daily|monthly|weekly)\b.{0,40}\b(?:limit|quota|allowance|renders?)\b",
    r"\b(?:limit|quota|renders?)\b.{0,60}(?:\b(?:daily|monthly)\b|\bper[- ](?:day|month)\b)",
    r"\b(?:requests|tokens|images) per (?:day|month)\b|[- ]per-day\b",
)
OVERLOAD_TEXT = _words(
    r"\b(?:is|are|currently) overloaded\b|\bno capacity\b|\bhigh demand\b|\bserver busy\b"
)
EXPIRED_TEXT = _words(
    r"\b(?:url|link|request|signature) (?:has |is )?expired\b|\bNoSuchKey\b|\bExpiredToken\b",
    r"\bsigned expiry time\b",
)
LARGE_TEXT = _words(r"\brequest too large\b")
RATE_TEXT = _words(r"\brate[- ]limit(?:ed|s)?\b", r"\bthrottled\b", r"\btoo many requests\b")

NEVER_SENT_TEXT = _words(
    r"\bconnection refused\b|\bname or service not known\b|\bcannot connect\b|\bresolv",
    r"\bno route to host\b|\bunreachable\b|\bcertificate\b|\bconnect(?:ion)? time(?:out|d out)",
)
_PASSING_ID = re.compile(r"Per(?:Second|Minute|Hour)", re.A)
_PERIOD_ID = re.compile(r"Per(?:Day|Week|Month)", re.A)

GENERAL: tuple[Rule, ...] = (
    Rule(REFUSED, codes=REFUSED_CODES),
    Rule(Verdict("rate_limited", ramp=True), codes=RAMP_CODES),
    Rule(NO_MONEY, codes=MONEY_CODES),
    Rule(OVERLOADED, codes=OVERLOAD_CODES, unless=RATE_TEXT),
    Rule(AUTH, _on(400, 401, 403), codes=KEY_CODES),
    Rule(AUTH, _on(400, 401, 403), text=KEY_TEXT),
    Rule(LOST, frozenset((403, 404, 410)), text=EXPIRED_TEXT),
    Rule(REFUSED, _on(400, 403, 422, 451), text=REFUSED_TEXT),
    Rule(NO_MONEY, _on(400, 402, 403, 429), text=MONEY_TEXT),
    Rule(NO_MONEY, _on(403, 429), text=SPENT_TEXT, unless=GOOGLE_TEXT),
    # A day's limit that refills as it goes names its wait, and then waiting is enough.
    Rule(NO_QUOTA, _on(429), text=PERIOD_TEXT, unless=TEXT_WAIT),
    Rule(NO_QUOTA, _on(429), path=("data", "resetAt")),
    Rule(OVERLOADED, _on(429, 500, 502), text=OVERLOAD_TEXT, unless=RATE_TEXT),
    Rule(RATE_LIMITED, frozenset((403, 503)), text=RATE_TEXT),
)
# Last for failures inside of successful answers, which have no status to go by.
INSIDE_RULES: tuple[Rule, ...] = (
    *(Rule(verdict, codes=_codes(words)) for words, verdict in CODE_VERDICTS),
    Rule(RATE_LIMITED, text=RATE_TEXT),
    Rule(INVALID, text=_words(r"\bout of memory\b", r"\bE1001\b")),
    Rule(TIMEOUT, text=_words(r"\btimed? ?out\b", r"\bdeadline exceeded\b")),
    Rule(
        INVALID,
        text=_words(
            r"\b(?:Value|Type|Key|Assertion|Validation)Error\b",
            r"\b(?:invalid|unsupported|unknown) (?:input|value|parameter|image|size|format)\b",
            r"\b(?:must be|is required|not supported|cannot identify image)\b",
        ),
    ),
)

_STATUS_WORDS = (
    (AUTH, (401, 403, 407, 511)),
    (NO_MONEY, (402,)),
    (NOT_FOUND, (404,)),
    (TIMEOUT, (408, 504)),
    (TRANSIENT, (409, 421, 423, 424, 425, 499)),
    (LOST, (410,)),
    (RATE_LIMITED, (429,)),
    (REFUSED, (451,)),
    (INVALID, (501, 505)),
    (OVERLOADED, (503, 529)),
    # The proxy lost sight of a server that may have begun, and may charge for it.
    (UNKNOWN_OUTCOME, (520, 521, 522, 523, 524, 598, 599)),
)
STATUSES = {status: verdict for verdict, group in _STATUS_WORDS for status in group}


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider's own ways.

    ``rules`` come before all others. ``bucket`` is what a refusal for rate is about
    when it does not say. ``paints``: an answer in words alone is no result.
    """

    rules: tuple[Rule, ...] = ()
    inside: tuple[Rule, ...] = ()
    bucket: Dimension | None = None
    paints: bool = False


GOOGLE = Profile(
    rules=(
        Rule(
            Verdict("quota_exhausted", "limit: 0", waits=False),
            _on(429),
            text=_words(r"\blimit: 0\b(?!\.)"),
        ),
    ),
    paints=True,
)
REPLICATE_ERRORS = (
    Rule(TRANSIENT, text=_words(r"\bE(?:1000|004|6716|8367|8765|9243)\b")),
    Rule(OVERLOADED, text=_words(r"\bE003\b")),
    Rule(INVALID, text=_words(r"\bE1001\b")),
)
PROFILES: dict[str, Profile] = {
    "generic": Profile(),
    "replicate": Profile(inside=REPLICATE_ERRORS),
    "openai": Profile(),
    "openai-compatible": Profile(),
    "litellm": Profile(),
    "openrouter": Profile(rules=(Rule(REFUSED, _on(403), text=_words(r"\bflagged\b")),)),
    "ollama": Profile(bucket=Dimension.CONCURRENCY),
    "anthropic": Profile(),
    "gemini": GOOGLE,
    "vertex": GOOGLE,
    "fal": Profile(
        rules=(
            Rule(
                Verdict("timeout", "x-fal-request-timeout-type", retry=False),
                frozenset((504,)),
                header=("x-fal-request-timeout-type", "user"),
            ),
            Rule(REFUSED, codes=REFUSED_CODES, tells=True),
            Rule(TIMEOUT, codes=_codes("generation_timeout startup_timeout"), tells=True),
            Rule(NO_OUTPUT, codes=_codes("no_media_generated"), tells=True),
            Rule(
                TRANSIENT,
                frozenset((422,)),
                codes=_codes("downstream_service_error internal_server_error"),
                tells=True,
            ),
            Rule(TRANSIENT, codes=_codes("runner_disconnected runner_connection_timeout")),
        ),
        bucket=Dimension.CONCURRENCY,
    ),
    "bfl": Profile(
        rules=(Rule(REFUSED, codes=REFUSED_CODES, tells=True),), bucket=Dimension.CONCURRENCY
    ),
    "stability": Profile(
        rules=(Rule(REFUSED, codes=REFUSED_CODES, place="name", tells=True),),
    ),
    "imejis": Profile(
        rules=(
            Rule(
                Verdict("auth", "error text"),
                frozenset((404,)),
                text=_words(r"\bkey not found\b"),
            ),
            Rule(
                Verdict("quota_exhausted", waits=False),
                _on(429),
                codes=_codes("no-plan"),
                tells=True,
            ),
        ),
    ),
}
ALIASES = {"google": "gemini", "vertex-ai": "vertex", "black-forest-labs": "bfl"}


def profile_of(provider: str) -> Profile:
    """Return a provider's own ways; the general ones for a name that is not known."""
    return PROFILES.get(ALIASES.get(provider, provider)) or PROFILES["generic"]


def spent_quota(answer: Answer) -> Verdict | None:
    """Return the verdict on a Google quota: by the day, or by the minute.

    One that comes back on another day has a RetryInfo of some seconds all the same, which
    is not true; one of a minute says "exceeded your current quota" all the same.
    """
    passing = False
    for violation in quota_violations(answer.body):
        named = str(violation.get("quotaId") or "")[:200]
        period = _PERIOD_ID.search(named)
        if period is not None:
            return Verdict("quota_exhausted", f"quotaId contains {period[0]}", waits=False)
        passing = passing or _PASSING_ID.search(named) is not None
    return RATE_LIMITED if passing else None


def too_large(answer: Answer) -> Verdict | None:
    """Return the verdict on a call that can never fit its limit.

    OpenAI says so as a refusal for the rate, Groq by a status of its own. Numbers that say
    the call would fit overrule the words; a wait that is named does, unless both agree.
    """
    words, numbers = LARGE_TEXT.search(answer.text) is not None, asks_too_much(answer.texts)
    if numbers is False or not (words or numbers):
        return None
    if words and numbers:
        return TOO_LARGE
    at = moment_of(answer.headers, None)
    return None if find_wait(answer.headers, answer.body, answer.texts, at) else TOO_LARGE


def by_status(answer: Answer) -> Verdict:
    """Return what the status alone means: 4xx is our mistake, 5xx the provider's trouble."""
    status = answer.status
    # A gateway's page, unlike a JSON answer of the API itself, does not know how the call ended.
    if status == 504 and answer.page.lstrip()[:1] == "<":
        return UNKNOWN_OUTCOME
    if status >= 500:
        return STATUSES.get(status, TRANSIENT)
    return STATUSES.get(status, INVALID)


def unanswered(answer: Answer) -> Verdict:
    """Return the verdict on a call that broke off without a status.

    What never reached the provider can be sent again; of all else the outcome is unknown.
    """
    return TRANSIENT if NEVER_SENT_TEXT.search(answer.text) else UNKNOWN_OUTCOME


def failed_inside(answer: Answer) -> Verdict | None:
    """Return the verdict of the tables on a failure told inside of a successful answer."""
    profile = profile_of(answer.provider)
    rules = (*profile.rules, *GENERAL, *profile.inside, *INSIDE_RULES)
    return spent_quota(answer) or too_large(answer) or first(rules, answer)


def failed_outright(answer: Answer) -> Verdict:
    """Return the verdict on an answer with a status of 300 or more, or with none at all."""
    found = spent_quota(answer) if answer.status == 429 else None
    if found is None and answer.status in (413, 429):
        found = too_large(answer)
    found = found or first((*profile_of(answer.provider).rules, *GENERAL), answer)
    if found is not None:
        return found
    return unanswered(answer) if answer.status < 200 else by_status(answer)


def first(rules: Iterable[Rule], answer: Answer) -> Verdict | None:
    """Return the verdict of the first rule that applies."""
    return next((found for rule in rules if (found := rule.judge(answer)) is not None), None)
