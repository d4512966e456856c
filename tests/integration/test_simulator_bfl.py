"""The simulated Black Forest Labs, and what Replicate's shape has beside predictions."""

from __future__ import annotations

import pytest

from tests.integration.test_simulator_server import Start, start

__all__ = ["start"]
CARD = {"prompt": "A mill.", "seed": 7}


async def test_a_task_is_taken_in_goes_on_and_is_ready(start: Start) -> None:
    """Id, address and cost at once; pending, then a picture of its own."""
    client = await start()
    status, _, task = await client.send("POST", "/v1/flux-2-pro", json=CARD)
    assert status == 200
    assert task["polling_url"] == f"{client.simulator.url}/v1/get_result?id={task['id']}"
    assert (task["cost"], task["output_mp"]) == (4.0, 1.05)
    _, _, told = await client.send("GET", task["polling_url"])
    assert (told["status"], told["result"]) == ("Pending", None)
    await client.clock.advance(1)
    _, _, told = await client.send("GET", task["polling_url"])
    assert (told["status"], told["result"]["seed"]) == ("Ready", 7)
    status, headers, body = await client.send("GET", told["result"]["sample"])
    assert (status, headers["content-type"], body[:4]) == (200, "image/png", b"\x89PNG")
    truth = await client.truth()
    assert (truth["requests"], truth["paid_calls"]) == (1, 1)


async def test_a_picture_is_there_for_ten_minutes_and_a_task_for_its_time(start: Start) -> None:
    """Then its address is refused, and the task is not found, with status 200."""
    client = await start(output={"ttl_s": 3600.0})
    _, _, task = await client.send("POST", "/v1/flux-2-pro", json=CARD)
    await client.clock.advance(1)
    _, _, told = await client.send("GET", task["polling_url"])
    await client.clock.advance(601)
    status, _, body = await client.send("GET", told["result"]["sample"])
    assert (status, b"expired" in body) == (403, True)
    await client.clock.advance(3600)
    status, _, told = await client.send("GET", task["polling_url"])
    assert (status, told["status"]) == (200, "Task not found")
    _, _, told = await client.send("GET", "/v1/get_result?id=other")
    assert told["status"] == "Task not found"
    assert (await client.send("GET", "/v1/get_result"))[0] == 422
    assert (await client.send("GET", "/bfl/bfl0/sample.png"))[0] == 404


async def test_more_tasks_than_allowed_are_refused_until_one_ends(start: Start) -> None:
    """A 429 with retry_after in its body."""
    client = await start(limits=[{"dimension": "concurrency", "kind": "concurrency", "amount": 2}])
    for _ in range(2):
        assert (await client.send("POST", "/v1/flux-2-pro", json=CARD))[0] == 200
    status, _, body = await client.send("POST", "/v1/flux-2-pro", json=CARD)
    assert (status, body["error"]) == (429, "rate_limit_exceeded")
    assert body["message"] == "Too many concurrent requests"
    assert body["retry_after"] >= 1
    await client.clock.advance(1)
    assert (await client.send("POST", "/v1/flux-2-pro", json=CARD))[0] == 200


@pytest.mark.parametrize(("kind", "state"), [("failed", "Error"), ("aborted", "Error")])
async def test_tasks_can_fail(start: Start, kind: str, state: str) -> None:
    """All failures have one word there; only refused words are moderated."""
    client = await start(refuse_word="bad", faults=[{"kind": kind, "share": 1.0, "until_s": 0.5}])
    _, _, task = await client.send("POST", "/v1/flux-2-pro", json=CARD)
    await client.clock.advance(1)
    assert (await client.send("GET", task["polling_url"]))[2]["status"] == state
    _, _, task = await client.send("POST", "/v1/flux-2-pro", json={"prompt": "bad"})
    await client.clock.advance(1)
    _, _, told = await client.send("GET", task["polling_url"])
    assert told["status"] == "Content Moderated"
    assert told["details"]


async def test_keys_money_and_bodies_are_looked_at(start: Start) -> None:
    """403 without the key, 422 for a body that is none, 402 when the credits are used up."""
    client = await start(api_key="k", budget_calls=0)
    assert (await client.send("POST", "/v1/flux-2-pro", json=CARD))[0] == 403
    ours = {"x-key": "k"}
    for body in (b"", b"[1]", b'{"prompt": 5}', b"\xff"):
        status, _, _ = await client.send("POST", "/v1/flux-2-pro", data=body, headers=ours)
        assert status == 422
    assert (await client.send("POST", "/v1/flux-2-pro", json=CARD, headers=ours))[0] == 402
    assert (await client.send("GET", "/v1/credits", headers=ours))[2] == {"credits": 1000.0}
    assert (await client.send("GET", "/v1/flux-2-pro", headers=ours))[0] == 405
    assert (await client.send("POST", "/v1/credits", headers=ours))[0] == 405


async def test_replicate_takes_files_deployments_and_the_question_who_asks(start: Start) -> None:
    """An uploaded file has an address, a deployment makes predictions, the account has a name."""
    client = await start()
    status, _, told = await client.send("POST", "/v1/files", data=b"bytes")
    assert status == 201
    assert told["urls"]["get"].startswith(f"{client.simulator.url}/v1/files/")
    path = "/v1/deployments/acme/cards/predictions"
    status, _, told = await client.send("POST", path, json={"input": {"prompt": "A mill."}})
    assert (status, told["model"], told["source"]) == (201, "acme/cards", "api")
    assert told["urls"]["web"]
    assert (await client.send("GET", "/v1/account"))[2]["type"] == "user"
