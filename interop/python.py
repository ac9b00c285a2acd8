"""Runs the protocol's Python library against a runtime: python.py URL TOKEN. Each line of output is a thing that works."""

import asyncio
import contextlib
import sys

from arcp import ARCPError, ClientInfo, SessionResume, WebSocketTransport
from arcp.client import ARCPClient


async def connected(url: str, token: str) -> ARCPClient:
    client = ARCPClient(client=ClientInfo(name="interop", version="1"), token=token)
    await client.connect(await WebSocketTransport.connect(url))
    return client


async def run(url: str, token: str) -> None:
    client = await connected(url, token)
    async with contextlib.aclosing(client):
        assert any(agent.name == "echo" for agent in client.welcome.capabilities.agents), client.welcome
        print("handshake")

        job = await client.submit(agent="count", input={"to": 3, "every_ms": 5})
        kinds = [event["kind"] async for event in job.events()]
        assert kinds == ["status", "progress", "progress", "progress"], kinds
        assert (await job.done).result["counted"] == 3
        print("a job, its events and its result")

        jobs = await asyncio.gather(*(client.submit(agent="echo", input={"n": n}) for n in range(20)))
        assert [(await job.done).result["n"] for job in jobs] == list(range(20))
        print("jobs side by side")

        job = await client.submit(agent="chunks", input={"count": 4, "bytes": 1000, "encoding": "base64"})
        data = await job.collect_chunks()
        assert len(data) == (await job.done).result_size == 4000
        print("a streamed result")

        first = await client.submit(agent="echo", input=7, idempotency_key="interop-" + client.session_id)
        await first.done
        again = await client.submit(agent="echo", input=7, idempotency_key="interop-" + client.session_id)
        assert again.job_id == first.job_id and (await again.done).result == 7
        print("a request that is repeated")

        job = await client.submit(agent="sleep", input={"ms": 60000})
        page = await client.list_jobs(limit=10)
        assert job.job_id in [entry.job_id for entry in page.jobs], page
        print("a listing")

        other = await connected(url, token)
        async with contextlib.aclosing(other):
            watched = await other.subscribe(first.job_id, history=True)
            assert watched.job_id == first.job_id
        print("a subscription")

        job = await client.submit(agent="fail", input={"code": "NOT_FOUND", "message": "as asked"})
        try:
            await job.done
            raise AssertionError("a job that fails has not")
        except ARCPError as error:
            assert "as asked" in str(error), error
        print("a failure")

        job = await client.submit(agent="count", input={"to": 40, "every_ms": 20})
        await anext(job.events())
        resume = SessionResume(
            session_id=client.session_id, resume_token=client.welcome.resume_token, last_event_seq=client.latest_event_seq
        )
        await client._transport.close()  # as a network does
        resumed = ARCPClient(client=ClientInfo(name="interop", version="1"), token=token)
        async with contextlib.aclosing(resumed):
            await resumed.resume(await WebSocketTransport.connect(url), resume=resume)
            assert resumed.session_id == resume.session_id
            watched = await resumed.subscribe(job.job_id)
            assert (await watched.handle.done).result["counted"] == 40
        print("a resume, and the job went on")


asyncio.run(asyncio.wait_for(run(*sys.argv[1:3]), 60))
