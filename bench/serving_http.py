"""What the HTTP layer alone costs: servers and frameworks beside each other.

Each server answers `POST /v1/recommend` by decoding the body, handing it to another thread,
awaiting what that resolves, and sending 1.5 KB of JSON: what serving does, without the ranking. The
load comes from this process over loopback; processor time is the server process's own.

    python -m bench.serving_http          prints one JSON object on its last line
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import psutil
import uvicorn
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response, post

from local.child import free_ports
from schemas.predictions import RecommendRequest

KINDS = ("litestar-granian", "litestar-uvicorn", "bare-granian", "bare-uvicorn")
BODY = b'{"request_id":"r-1","visitor_id":"v-17850","surface":"home","k":10}'
PATH = "/v1/recommend"
SEQUENTIAL, CONCURRENT, WARM = 3_000, 12_000, 500
Question = tuple[RecommendRequest, asyncio.Future[bytes], asyncio.AbstractEventLoop]


class Worker:
    """The other thread: resolves each question with the same reply."""

    def __init__(self) -> None:
        items = [
            {"item_id": f"{22_000 + n}", "title": f"Regency cakestand {n} tier", "price": 12.75,
             "position": n + 1, "score": 0.123456789 * n, "source": "cooccurrence"}
            for n in range(13)
        ]  # fmt: skip
        self._reply = {"request_id": "r-1", "prediction_id": "p" * 36, "items": items}
        self._waiting: queue.SimpleQueue[Question] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    async def ask(self, body: bytes, decode: Callable[[bytes], RecommendRequest]) -> bytes:
        """The reply to one body."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting.put((decode(body), future, loop))
        return await future

    def _run(self) -> None:
        while True:
            _, future, loop = self._waiting.get()
            loop.call_soon_threadsafe(future.set_result, msgspec.json.encode(self._reply))


def bare() -> Any:
    """An ASGI application of one function."""
    worker, decode = Worker(), msgspec.json.Decoder(RecommendRequest).decode

    async def application(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        assert scope["path"] == PATH
        message = await receive()
        reply = await worker.ask(message["body"], decode)
        length = str(len(reply)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    return application


def litestar() -> Any:
    """The same as a Litestar handler."""
    worker, decode = Worker(), msgspec.json.Decoder(RecommendRequest).decode

    @post(PATH, status_code=200)
    async def recommend(request: Request[Any, Any, Any]) -> Response[bytes]:
        reply = await worker.ask(await request.body(), decode)
        return Response(reply, media_type="application/json")

    return Litestar(route_handlers=[recommend], openapi_config=None, logging_config=None)


def serve(kind: str, port: int) -> None:
    """Serves until it is killed."""
    framework, server = kind.split("-")
    application = bare() if framework == "bare" else litestar()
    if server == "uvicorn":
        uvicorn.run(
            application, port=port, loop="uvloop", http="httptools", lifespan="off", log_config=None
        )
        return
    embedded = Server(application, port=port, interface=Interfaces.ASGINL, log_enabled=False)
    uvloop.run(embedded.serve())


class Client(asyncio.Protocol):
    """One kept connection that asks again once it has the whole answer."""

    def __init__(self, port: int, questions: int) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(BODY)}\r\n"
        self._question = f"{head}Content-Type: application/json\r\n\r\n".encode() + BODY
        self._left = questions
        self._buffer = b""
        self.took_s: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks the first question."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """Fails when questions are left."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        """Asks the next one when the answer is whole."""
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = b""
        self.took_s.append(time.perf_counter() - self._asked_s)
        if self._left:
            self._ask()
        else:
            self.done.set_result(None)
            self._transport.close()

    def _ask(self) -> None:
        self._left -= 1
        self._asked_s = time.perf_counter()
        self._transport.write(self._question)


async def load(port: int, clients: int, questions: int) -> list[float]:
    """Seconds that each question took."""
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: Client(port, questions // clients), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in pairs))
    return [each for _, client in pairs for each in client.took_s]


def measured(kind: str, clients: int, questions: int) -> dict[str, float]:
    """Requests a second, quantiles and the server's processor time of a request."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.serving_http", "--serve", kind, "--port", str(port)]
    child = subprocess.Popen(command)
    try:
        _wait(port)
        uvloop.run(load(port, clients, WARM))
        process = psutil.Process(child.pid)
        before, began_s = sum(process.cpu_times()[:2]), time.perf_counter()
        took = uvloop.run(load(port, clients, questions))
        wall_s = time.perf_counter() - began_s
        cpu_s = sum(process.cpu_times()[:2]) - before
    finally:
        child.kill()
        child.wait()
    cuts = statistics.quantiles(took, n=100)
    return {
        "cpu_ms": round(cpu_s / len(took) * 1e3, 3),
        "p50_ms": round(cuts[49] * 1e3, 3),
        "p99_ms": round(cuts[98] * 1e3, 3),
        "rps": round(len(took) / wall_s),
    }


def _wait(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            uvloop.run(load(port, 1, 1))
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def main() -> int:
    """Measures every kind, three times in turn, and keeps the median of each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving_http", description=__doc__)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return 0
    loads = {"sequential": (1, SEQUENTIAL), "concurrent": (16, CONCURRENT)}
    rounds = [
        {kind: {name: measured(kind, *each) for name, each in loads.items()} for kind in KINDS}
        for _ in range(options.rounds)
    ]
    found = {kind: {name: _median(rounds, kind, name) for name in loads} for kind in KINDS}
    print(json.dumps(found))
    return 0


def _median(rounds: list[Any], kind: str, name: str) -> dict[str, float]:
    figures = rounds[0][kind][name]
    return {key: statistics.median(each[kind][name][key] for each in rounds) for key in figures}


if __name__ == "__main__":
    sys.exit(main())
