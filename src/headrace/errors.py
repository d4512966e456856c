"""Errors that a person meets: each says what was wrong, where, and what to do."""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of every error that headrace raises on purpose.

    ``message`` says what was wrong and shows the offending value, ``place`` where
    (file, row, column, setting), ``remedy`` what to do about it. ``row`` is the number of
    the row that is to blame, ``param`` the field of a request, where one is.
    """

    code = "error"
    exit_code = 1
    row: int | None = None
    param: str | None = None

    def __init__(self, message: str, *, remedy: str = "", place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.place = place

    def __str__(self) -> str:
        head = f"{self.place}: {self.message}" if self.place else self.message
        return f"{head}\n  {self.remedy}" if self.remedy else head

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (the render pool); the keyword arguments must survive.
        state = {"message": self.message, "remedy": self.remedy, "place": self.place}
        return (_rebuild, (type(self), self.message), state)


def _rebuild(kind: type[HeadraceError], message: str) -> HeadraceError:
    return kind(message)


class InputError(HeadraceError):
    """The input file or a row of it cannot be used; or ``param``, a field of a request."""

    code = "invalid_input"
    exit_code = 2

    def __init__(
        self, message: str, *, remedy: str = "", place: str = "", param: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy, place=place)
        self.param = param


class UsageError(HeadraceError):
    """A call or a command was made with arguments that do not fit together."""

    code = "usage"
    exit_code = 2


class ConfigError(HeadraceError):
    """A setting is unknown, has the wrong type, or a key is missing."""

    code = "config"
    exit_code = 5


class RecipeError(HeadraceError):
    """A recipe cannot be read, or does not fit the columns of the input."""

    code = "recipe"
    exit_code = 2


class NotFoundError(HeadraceError):
    """A batch, recipe, template or artifact with that name does not exist."""

    code = "not_found"
    exit_code = 2


class ConflictError(HeadraceError):
    """The request contradicts what is already recorded (an idempotency key reused, say)."""

    code = "conflict"
    exit_code = 2


class InsufficientCreditsError(HeadraceError):
    """The tenant's available credits do not cover the reserve of a submit.

    ``facts`` are the micro-credits needed, available and missing.
    """

    code = "insufficient_credits"
    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        place: str = "",
        facts: dict[str, int] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, place=place)
        self.facts = facts or {}


class NoWorkerError(HeadraceError):
    """What is asked for now is made by workers, and none is there."""

    code = "no_worker"
    exit_code = 6


class PausedError(HeadraceError):
    """A guard has paused the batch that was waited for: its canary, or its budget."""

    code = "paused"
    exit_code = 4


class DatabaseError(HeadraceError):
    """The database cannot be started, reached, or trusted."""

    code = "database"
    exit_code = 6


class StorageError(HeadraceError):
    """Bytes could not be stored or read; ``retryable`` when waiting may help."""

    code = "storage"
    exit_code = 6

    def __init__(
        self, message: str, *, remedy: str = "", place: str = "", retryable: bool = True
    ) -> None:
        super().__init__(message, remedy=remedy, place=place)
        self.retryable = retryable


class IllegalMoveError(HeadraceError):
    """A state was asked to move where the table of legal moves has no arrow."""

    code = "illegal_move"


class FenceLostError(HeadraceError):
    """Another worker holds the shard now; nothing of this write was kept."""

    code = "fence_lost"
