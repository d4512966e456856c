"""What the official client does in a day, unchanged: files, batches of each endpoint, streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from headrace.openai_body import CHAT, EDITS, IMAGES, RESPONSES
from tests.integration.test_http import Served, served
from tests.integration.test_http_batches import asked, content, line, until
from tests.integration.test_http_files import foreigner
from tests.integration.test_http_online import picture, watched


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


def drawing(number: int) -> str:
    """A line that asks for an image."""
    body = {"model": "scripted:m", "prompt": f"i{number}"}
    return line(f"i{number}", url=IMAGES, body=body)


async def test_a_thousand_lines_a_cancel_and_a_stream(api: Served) -> None:
    """Two files of chats and images are made side by side, each line once; a third is cancelled."""
    async with api.client() as client:
        chats = await asked(client, [line(f"c{number}") for number in range(500)])
        images = await asked(client, [drawing(number) for number in range(500)], IMAGES)
        stream = await client.chat.completions.create(
            model="sim:gpt-x", messages=[{"role": "user", "content": "say c7"}], stream=True
        )
        text = "".join([one.choices[0].delta.content or "" async for one in stream])
        for batch, endpoint in ((chats, CHAT), (images, IMAGES)):
            done = await until(client, batch)
            assert (done.status, done.endpoint, done.errors) == ("completed", endpoint, None)
            assert done.request_counts is not None
            counts = done.request_counts.model_dump()
            assert counts == {"total": 500, "completed": 500, "failed": 0}
            answers = await content(client, done.output_file_id)
            assert len(answers) == 500
            if endpoint == CHAT:
                said = answers["c7"]["response"]["body"]["choices"][0]["message"]["content"]
                assert said == text
        # The stream and the batch asked for the same: it was bought once.
        assert len(api.simulator.truth.calls) == 500
        assert len(api.scripted.prompts) == 500
        api.scripted.gate.clear()
        api.scripted.entered.clear()
        third = await asked(client, [drawing(number) for number in range(500, 900)], IMAGES)
        async with asyncio.timeout(60):
            await api.scripted.entered.wait()
        await client.batches.cancel(third.id)
        api.scripted.gate.set()
        done = await until(client, third)
        assert done.status == "cancelled"
        assert len(await content(client, done.error_file_id)) > 100
        assert len(api.scripted.prompts) < 750


async def test_responses_go_in_batches(api: Served) -> None:
    """Each line becomes a response, out of the cache that chats fill; wrong ones are named."""
    async with api.client() as client:
        body = {"model": "sim:gpt-x", "input": "Hi"}
        good = [line("r", url=RESPONSES, body=body)]
        done = await until(client, await asked(client, good, RESPONSES))
        assert done.status == "completed", done.errors
        told = (await content(client, done.output_file_id))["r"]["response"]["body"]
        response = openai.types.responses.Response.model_validate(told)
        now = await client.responses.create(model="sim:gpt-x", input="Hi")
        assert response.output_text == now.output_text
        assert len(api.simulator.truth.calls) == 1
        wrong = [line("w", url=RESPONSES, body={**body, "tools": [{"type": "x"}]})]
        done = await until(client, await asked(client, wrong, RESPONSES))
        assert done.errors is not None
        assert [one.code for one in done.errors.data or []] == ["invalid_request"]


async def test_edits_go_in_batches_by_their_files(api: Served) -> None:
    """Pictures are named by file id or hash; what cannot be found is the error of its line."""
    seen = watched(api)
    async with api.client() as client:
        ids = []
        for color in ("red", "blue"):
            file = await client.files.create(file=("a.png", picture(color)), purpose="vision")
            ids.append(file.id)

        def edit(name: str, **more: Any) -> str:
            return line(name, url=EDITS, body={"model": "scripted:m", "prompt": name, **more})

        lines = [edit("a", image=ids[0]), edit("b", images=[{"file_id": one} for one in ids])]
        done = await until(client, await asked(client, lines, EDITS))
        assert done.status == "completed", done.errors
        answers = await content(client, done.output_file_id)
        assert set(answers) == {"a", "b"}
        assert answers["a"]["response"]["body"]["data"][0]["b64_json"]
        red, blue = picture("red"), picture("blue")
        assert sorted(len(one["image"]) for one in seen) == [1, 2]
        assert {"image": [red]} in seen
        assert {"image": [red, blue]} in seen
        # Asked on demand it is there already.
        body = {"model": "scripted:m", "prompt": "a", "image": ids[0]}
        assert (await api("POST", "/v1/images/edits", body=body))[0] == 200
        assert len(seen) == 2
        await foreigner(api)
        async with api.client("foreign") as foreign:
            theirs = await foreign.files.create(file=("a.png", red), purpose="vision")
        lines = [
            edit("c", image=ids[0]),
            edit("d", image=theirs.id),
            edit("e"),
            edit("f", image="sha256:00"),
            edit("g", image=ids[0], mask="http://a/b"),
        ]
        done = await until(client, await asked(client, lines, EDITS))
        assert done.errors is not None
        assert [(one.line, one.code) for one in done.errors.data or []] == [
            (2, "file_not_found"),
            (3, "invalid_request"),
            (4, "file_not_found"),
            (5, "invalid_request"),
        ]
        assert json.dumps(done.errors.model_dump()).count("Upload") >= 2
        assert len(seen) == 2
