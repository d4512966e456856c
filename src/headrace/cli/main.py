"""The commands and their common ending: an error that says what to do, and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable
from typing import Any, NoReturn

from cyclopts import App, CycloptsError

from headrace.version import VERSION

Commands = dict[str, tuple[str, str]]

COMMANDS: Commands = {
    "run": ("headrace.cli.running:run", "Turn every row of an input into a result, durably."),
    "estimate": ("headrace.cli.running:estimate", "Say what a run would cost, buying nothing."),
    "resume": ("headrace.cli.running:resume", "Go on with what was paused, interrupted or killed."),
    "retry": ("headrace.cli.running:retry", "Try ended items of a batch once more."),
    "watch": ("headrace.cli.running:watch", "Show a batch live, without working on it."),
    "pause": ("headrace.cli.steering:pause", "Let nothing more of a batch start."),
    "cancel": ("headrace.cli.steering:cancel", "Cancel a batch; what has not started is refunded."),
    "forget": ("headrace.cli.forgetting:forget", "Remove a batch's rows, results and events."),
    "batches": ("headrace.cli.steering:batches", "List the batches, the latest first."),
    "show": ("headrace.cli.steering:show", "Show a batch, or one row with its attempts."),
    "lanes": ("headrace.cli.lanes:lanes", "The limits of providers: learned, binding, used."),
    "recipes": ("headrace.cli.steering:recipes", "List the recipes that are at hand."),
    "simulate": ("headrace.cli.simulating:simulate", "A provider on localhost, to rehearse with."),
    "explain": ("headrace.cli.explaining:explain", "Say what headrace makes of responses."),
    "provenance": ("headrace.cli.tracing_back:provenance", "Say what a file tells of its origin."),
    "worker": ("headrace.cli.working:worker", "Work on a shared database until told to stop."),
    "migrate": ("headrace.cli.migrating:migrate", "Bring the database up to date, or say how far."),
    "workers": ("headrace.cli.working:workers", "List the workers of the database."),
    "serve": ("headrace.cli.serving:serve", "The HTTP API, with a worker in the same process."),
    "doctor": ("headrace.cli.doctor:doctor", "Is everything in order, and if not, what to do."),
    "init": ("headrace.cli.steering:init", "Write a commented headrace.toml."),
}
LEDGER: Commands = {
    "show": ("headrace.cli.ledger:show", "Balances and the latest entries."),
    "verify": ("headrace.cli.ledger:verify", "Audit ledger, items and counts."),
    "grant": ("headrace.cli.ledger:grant", "Give a tenant credits."),
    "limit": ("headrace.cli.prices:limit", "Let a tenant spend only what it was granted."),
    "prices": ("headrace.cli.prices:prices", "The price book: what results cost."),
    "price": ("headrace.cli.prices:price", "Add a price to the price book."),
}
CACHE: Commands = {
    "stats": ("headrace.cli.caching:stats", "How many results are kept, how large, how old."),
    "prune": ("headrace.cli.caching:prune", "Forget results past their time."),
}
KEYS: Commands = {
    "create": ("headrace.cli.keys:create", "Make a key for the HTTP API."),
    "list": ("headrace.cli.keys:list_", "List the keys, never whole."),
    "rotate": ("headrace.cli.keys:rotate", "Make a key that takes another's place."),
    "revoke": ("headrace.cli.keys:revoke", "End a key."),
    "provider-set": ("headrace.cli.provider_keys:set_", "Keep a key that a tenant buys with."),
    "provider-list": ("headrace.cli.provider_keys:list_", "List those keys, never whole."),
    "provider-remove": ("headrace.cli.provider_keys:remove", "Remove such a key."),
    "rotate-master": (
        "headrace.cli.provider_keys:rotate_master",
        "Seal those keys, and secrets of webhooks, under a new master key.",
    ),
}
TENANTS: Commands = {
    "list": ("headrace.cli.tenants:list_", "Who there is, under which plan."),
    "create": ("headrace.cli.tenants:create", "Make a tenant."),
    "suspend": ("headrace.cli.tenants:suspend", "Take from its keys what they open."),
    "resume": ("headrace.cli.tenants:resume", "End a suspension."),
    "set-plan": ("headrace.cli.tenants:set_plan", "Give a tenant another plan."),
    "set-daily-credits": ("headrace.cli.tenants:set_daily_credits", "Cap a tenant's own day."),
    "show": ("headrace.cli.tenants:show", "One tenant: its plan, its day, its credits."),
}
PLANS: Commands = {
    "list": ("headrace.cli.plans:list_", "The plans, with what they allow."),
    "set": ("headrace.cli.plans:set_", "Make a plan, or change what is told of one."),
    "show": ("headrace.cli.plans:show", "One plan."),
}
WEBHOOKS: Commands = {
    "create": ("headrace.cli.webhooks:create", "Add an endpoint."),
    "list": ("headrace.cli.webhooks:list_", "List the endpoints."),
    "delete": ("headrace.cli.webhooks:delete", "Delete an endpoint with its log."),
    "ping": ("headrace.cli.webhooks:ping", "Send a message that only says hello."),
    "test": ("headrace.cli.webhooks:try_", "Say hello from here, and show the answer."),
    "rotate": ("headrace.cli.webhooks:rotate", "Make another secret."),
    "deliveries": ("headrace.cli.webhooks:deliveries", "The log of messages, or one of them."),
    "redeliver": ("headrace.cli.webhooks:redeliver", "Send a message once more."),
}
SCHEDULE: Commands = {
    "add": ("headrace.cli.schedules:add", "Add a schedule."),
    "list": ("headrace.cli.schedules:list_", "List the schedules."),
    "show": ("headrace.cli.schedules:show", "Show one, with its latest ticks."),
    "pause": ("headrace.cli.schedules:pause", "Let no tick come."),
    "resume": ("headrace.cli.schedules:resume", "Let ticks come again."),
    "remove": ("headrace.cli.schedules:remove", "Remove one; its batches stay."),
    "run-now": ("headrace.cli.schedules:run_now", "Let a tick come now."),
}
PROVIDERS: Commands = {
    "list": ("headrace.cli.providing:list_", "The providers at hand, and what is known of them."),
    "check": ("headrace.cli.providing:check", "Try the key of a provider, buying nothing."),
}
POLICY: Commands = {
    "check": ("headrace.cli.policing:check", "Say what the policy makes of a text."),
}


def build_app() -> App:
    """Return the application; the modules of commands load when they are called or helped."""
    app = App(
        name="headrace",
        version=VERSION,
        help="Batches of AI generation work: at the quota, nothing twice, nothing lost.",
    )
    for name, (place, said) in COMMANDS.items():
        app.command(place, name=name, help=said)
    for group, words, members in (
        ("ledger", "Credits: balances, entries, audit, grants.", LEDGER),
        (
            "providers",
            "Who makes things: what is configured, and whether its key works.",
            PROVIDERS,
        ),
        ("keys", "Who may use the HTTP API, and for what.", KEYS),
        ("tenants", "Who owns batches, keys and credits.", TENANTS),
        ("plans", "What tenants have signed up for.", PLANS),
        ("webhooks", "Where events go, signed, until they are taken.", WEBHOOKS),
        ("schedule", "Batches at the moments of a cron expression.", SCHEDULE),
        ("policy", "What may not be generated.", POLICY),
        ("cache", "Finished results: how many, how large, and removing old ones.", CACHE),
    ):
        sub = App(name=group, help=words)
        for name, (place, said) in members.items():
            sub.command(place, name=name, help=said)
        app.command(sub)
    app.register_install_completion_command()
    return app


def main() -> NoReturn:
    """Run the command line and exit with the code that tells how it ended."""
    args = sys.argv[1:]
    try:
        result = build_app()(
            args,
            exit_on_error=False,
            print_error="--json" not in args,
            result_action="return_value",
        )
        sys.exit(result if isinstance(result, int) else 0)
    except CycloptsError as error:
        if "--json" in args:
            print(json.dumps({"error": {"code": "usage", "message": str(error)}}))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # broad: the one place where an error becomes words
        sys.exit(_ending(error, "--json" in args))


def _ending(error: Exception, as_json: bool) -> int:
    from headrace.errors import DatabaseError, HeadraceError

    if os.environ.get("HEADRACE_TRACEBACK"):
        raise error
    if _is_of_database(error):
        error = DatabaseError(
            f"the database went away: {error}",
            remedy="Run the command again when it is back; what was begun goes on.",
        )
    if not isinstance(error, HeadraceError):
        _complain(
            f"unexpected: {type(error).__name__}: {error}",
            "Set HEADRACE_TRACEBACK=1 for the details, and report it please. "
            "Nothing is lost: 'headrace resume' goes on.",
        )
        return 1
    if as_json:
        told = {"code": error.code, "message": error.message, "place": error.place}
        print(json.dumps({"error": told | {"remedy": error.remedy}}))
    else:
        place = f"{error.place}: " if error.place else ""
        _complain(f"{place}{error.message}", error.remedy)
    return error.exit_code


def _is_of_database(error: Exception) -> bool:
    if "asyncpg" not in sys.modules:  # a command that never asked it
        return False
    from headrace.store.reachable import UNREACHED

    return isinstance(error, UNREACHED)


def _complain(message: str, remedy: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if remedy:
        print(f"  → {remedy}", file=sys.stderr)


def on_loop(work: Awaitable[Any]) -> Any:
    """Run ``work`` on uvloop where it is installed, else on asyncio's own loop."""
    import asyncio

    async def go() -> Any:
        return await work

    try:
        import uvloop
    except ImportError:
        return asyncio.run(go())
    return uvloop.run(go())
