"""What every provider promises, whatever it calls; the crash class adds promises of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from headrace.errors import NotFoundError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.price import FREE
from headrace.provider import CrashClass, Provider, Reply
from headrace.request import Request
from headrace.testing.call_desk import CallDesk


class ProviderConformance:
    """Subclass as ``class TestMine(ProviderConformance)`` and override the ``make`` methods.

    Promises of another crash class than the provider's hold at once.
    """

    unknown_model: str | None = None
    """A model that the provider must not know; ``None`` when it takes any."""

    async def make_provider(self) -> Provider:
        """Return a fresh provider, not opened, that answers calls with success."""
        raise NotImplementedError

    def make_request(self, provider: Provider, number: int) -> Request:
        """Return the request of that number: the same number, the same request."""
        raise NotImplementedError

    def make_desk(self) -> CallDesk:
        """Return where calls come from; override to give it folders or artifacts."""
        return CallDesk()

    async def make_failing(self, provider: Provider) -> Request | None:
        """Return a request that the provider must fail, ``None`` when there is none."""
        return None

    def purchases(self, provider: Provider) -> int | None:
        """Return how many calls were billed so far, ``None`` when that cannot be seen."""
        return None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Provider, CallDesk]]:
        """Give an open provider and a desk, and close the provider afterwards."""
        provider = await self.make_provider()
        await provider.open()
        try:
            yield provider, self.make_desk()
        finally:
            await provider.close()

    # -- all providers -----------------------------------------------------------------------

    async def test_a_call_gives_one_result(self) -> None:
        """A success has a media type and exactly one of body and artifact."""
        async with self.opened() as (provider, desk):
            reply = await provider.call(desk.call(self.make_request(provider, 1)))
            check_reply(reply)
            assert desk.body_of(reply), "an empty body is no result: raise NO_OUTPUT"

    async def test_names_and_lane_are_stable(self) -> None:
        """Name, lane and concurrency are set, and the same request has the same lane."""
        provider = await self.make_provider()
        request = self.make_request(provider, 1)
        assert provider.name
        assert provider.quota.concurrency >= 1
        assert provider.lane(request)
        assert provider.lane(request) == provider.lane(self.make_request(provider, 1))
        await provider.close()

    async def test_version_is_stable(self) -> None:
        """A model's version is text that stays the same while nothing changes."""
        provider = await self.make_provider()
        request = self.make_request(provider, 1)
        assert provider.version(request.model) == provider.version(request.model)
        assert provider.version(request.model) == request.version
        assert request.version
        await provider.close()

    async def test_unknown_model_is_not_found(self) -> None:
        """A model that the provider does not know raises ``NotFoundError``, with a remedy."""
        if self.unknown_model is None:
            return
        provider = await self.make_provider()
        with pytest.raises(NotFoundError) as caught:
            provider.version(self.unknown_model)
        assert caught.value.remedy
        await provider.close()

    async def test_price_is_known_in_credits(self) -> None:
        """The price in credits is a whole number, never unknown and never below zero."""
        provider = await self.make_provider()
        price = provider.price(self.make_request(provider, 1))
        assert isinstance(price.credits_microcredits, int)
        assert price.credits_microcredits >= 0
        assert price.cost_microusd_max is None or price.cost_microusd_max >= 0
        await provider.close()

    async def test_cost_stays_within_the_price(self) -> None:
        """A call costs at most what was quoted."""
        async with self.opened() as (provider, desk):
            request = self.make_request(provider, 1)
            reply = await provider.call(desk.call(request))
            most = provider.price(request).cost_microusd_max
            if reply.cost_microusd is not None and most is not None:
                assert 0 <= reply.cost_microusd <= most

    async def test_failures_are_outcomes(self) -> None:
        """A call that fails raises ``CallFailed`` with a kind other than success, and a reason."""
        async with self.opened() as (provider, desk):
            request = await self.make_failing(provider)
            if request is None:
                pytest.skip("no failing request was given")
            with pytest.raises(CallFailed) as caught:
                await provider.call(desk.call(request))
            assert caught.value.outcome.kind is not OutcomeKind.SUCCESS
            assert caught.value.outcome.reason

    async def test_close_is_harmless(self) -> None:
        """Closing twice, and closing what was never opened, does nothing bad."""
        provider = await self.make_provider()
        await provider.close()
        again = await self.make_provider()
        await again.open()
        await again.close()
        await again.close()

    async def test_cancel_of_nothing_is_harmless(self) -> None:
        """Cancelling an id that was never given is a no-op or a ``CallFailed``, no crash."""
        async with self.opened() as (provider, _):
            with suppress(CallFailed):
                await provider.cancel("no-such-call", None)

    # -- by crash class ----------------------------------------------------------------------

    async def test_pure_is_free(self) -> None:
        """A local computation costs nothing, so it may be repeated without asking."""
        async with self.opened() as (provider, desk):
            if provider.crash_class is not CrashClass.PURE:
                return
            request = self.make_request(provider, 1)
            assert provider.price(request) == FREE
            first = await provider.call(desk.call(request, "key-1"))
            second = await provider.call(desk.call(request, "key-2"))
            assert first.media_type == second.media_type

    async def test_keyed_buys_once_for_a_key(self) -> None:
        """Class A: the same key again gives the same bytes and is not billed again."""
        async with self.opened() as (provider, desk):
            if provider.crash_class is not CrashClass.KEYED:
                return
            request = self.make_request(provider, 1)
            first = await provider.call(desk.call(request, "key-1"))
            billed = self.purchases(provider)
            second = await provider.call(desk.call(request, "key-1"))
            assert desk.body_of(first) == desk.body_of(second)
            assert self.purchases(provider) == billed

    async def test_listed_is_found_by_marker(self) -> None:
        """Class B: an earlier call is found by its marker and followed, not bought again."""
        async with self.opened() as (provider, desk):
            if provider.crash_class is not CrashClass.LISTED:
                return
            request = self.make_request(provider, 1)
            assert await provider.find(desk.call(request, "key-1")) is None
            first = await provider.call(desk.call(request, "key-1"))
            billed = self.purchases(provider)
            found = await provider.find(desk.call(request, "key-1"))
            assert found is not None
            adopted = await provider.resume(desk.call(request, "key-1"), found, None)
            assert desk.body_of(adopted) == desk.body_of(first)
            assert self.purchases(provider) == billed
            assert await provider.find(desk.call(request, "key-2")) is None

    async def test_polled_is_resumed_by_id(self) -> None:
        """Class C: the id is reported before the answer, and following it buys nothing."""
        async with self.opened() as (provider, desk):
            if provider.crash_class is not CrashClass.POLLED:
                return
            call = desk.call(self.make_request(provider, 1))
            first = await provider.call(call)
            assert len(desk.accepted) == 1, "await call.accepted(id, url) exactly once"
            billed = self.purchases(provider)
            resumed = await provider.resume(call, *desk.accepted[0])
            check_reply(resumed)
            assert desk.body_of(resumed) == desk.body_of(first)
            assert self.purchases(provider) == billed
            assert first.provider_request_id in (None, desk.accepted[0][0])

    async def test_resume_of_an_unknown_id_fails(self) -> None:
        """Following an id that the provider does not know is a failure, never another call."""
        async with self.opened() as (provider, desk):
            if provider.crash_class not in (CrashClass.POLLED, CrashClass.LISTED):
                return
            billed = self.purchases(provider)
            with pytest.raises(CallFailed):
                await provider.resume(desk.call(self.make_request(provider, 1)), "gone", None)
            assert self.purchases(provider) == billed


def check_reply(reply: Reply) -> None:
    """Fail unless ``reply`` has a media type and exactly one of body and artifact."""
    assert "/" in reply.media_type, f"not a media type: {reply.media_type!r}"
    given = [part for part in (reply.body, reply.artifact) if part is not None]
    assert len(given) == 1, "set exactly one of body and artifact"
    assert reply.cost_microusd is None or reply.cost_microusd >= 0
