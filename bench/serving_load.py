"""The load generator: a process of its own that speaks HTTP/1.1 over kept connections.

`python -m bench.serving_load JSON` with the fields of `Load`; the last line is one JSON object. It
never asks again: what was refused or cut off counts. With a rate the moments of the requests are
drawn beforehand (Poisson) and a latency begins at its moment, so that waiting for a free connection
is part of it (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

WITHIN_S = 10.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask: `path` with bodies of `kind`, over `connections`, `n` requests after `warm_up`.

    `rate` in requests a second; without one each connection asks again when it has its answer.
    `note` is a file for one line per 200: request id, prediction id, model version. `patient`
    keeps on while the server is away: what fails then is counted as `cut_off`. `trail` is a file
    for one line per measured reply: Unix time in seconds when it had come, and its latency.
    """

    port: int
    kind: str = "recommend"
    path: str = "/v1/recommend"
    connections: int = 1
    n: int = 1_000
    warm_up: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    visitors: int = 1
    items: int = 1
    candidates: int = 0
    k: int = 10
    seed: int = 1
    texts: list[str] = []
    note: str = ""
    patient: bool = False
    header: str = ""
    trail: str = ""


class Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        """Takes the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Ends the request when its reply is whole."""
        self._got += data
        head_end = self._got.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._got[:head_end].lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._got) < head_end + 4 + size:
            return
        body = self._got[head_end + 4 : head_end + 4 + size]
        self._got = self._got[head_end + 4 + size :]
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the request that waits: the server has gone."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed"))

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the reply."""
        if self._transport is None:
            raise ConnectionResetError("closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await asyncio.wait_for(self._waiting, WITHIN_S)


class Bodies:
    """Requests as bytes, drawn from a seed."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._random = np.random.default_rng(load.seed)
        self._number = 0

    def next(self) -> tuple[str, bytes]:
        """A request id and the whole HTTP request."""
        load, self._number = self._load, self._number + 1
        request_id = f"l{load.seed}-{self._number}"
        body = msgspec.json.encode(self._fields() | {"request_id": request_id})
        head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{load.header}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return request_id, head.encode() + body

    def _fields(self) -> dict[str, Any]:
        load, random = self._load, self._random
        found: dict[str, Any] = {"visitor_id": f"v{int(random.integers(load.visitors)):06d}"}
        if load.kind == "recommend":
            found |= {"surface": "home", "k": load.k}
        if load.kind == "similar":
            found |= {"item_id": f"i{int(random.integers(load.items)):06d}", "k": load.k}
        if load.kind == "search":
            found |= {"query": load.texts[int(random.integers(len(load.texts)))], "k": load.k}
        if load.kind == "classify":
            found |= {"text": load.texts[int(random.integers(len(load.texts)))]}
        if load.candidates:
            drawn = random.integers(load.items, size=load.candidates).tolist()
            found["candidate_item_ids"] = [f"i{number:06d}" for number in drawn]
        return found


class Run:
    """The requests of one load and what came of them."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.bodies = Bodies(load)
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.notes: list[str] = []
        self.trail: list[str] = []
        self.began_s = 0.0
        self.took_s = 0.0
        self._left = load.n

    async def all(self) -> None:
        """Warm-up, then what is measured."""
        if self.load.warm_up:
            self._left = self.load.warm_up
            await self._closed(0.0)
            self.latencies.clear()
            self.trail.clear()
            self.statuses.clear()
            self.degraded.clear()
        self._left = self.load.n
        self.began_s = time.perf_counter()
        await (self._open() if self.load.rate else self._closed(self.load.seconds))
        self.took_s = time.perf_counter() - self.began_s

    async def _closed(self, seconds: float) -> None:
        each = (self._one_after_another(seconds) for _ in range(self.load.connections))
        await asyncio.gather(*each)

    async def _one_after_another(self, seconds: float) -> None:
        connection = Connection()
        until_s = time.perf_counter() + seconds if seconds else None
        while self._left > 0 or until_s is not None:
            if until_s is not None and time.perf_counter() > until_s:
                return
            self._left -= 1
            connection = await self._ask(connection, time.perf_counter())

    async def _open(self) -> None:
        """Requests at moments drawn beforehand, each on the first connection that is free."""
        random = np.random.default_rng(self.load.seed + 1)
        count = round(self.load.rate * self.load.seconds) or self.load.n
        moments = np.cumsum(random.exponential(1 / self.load.rate, count)).tolist()
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(self.load.connections):
            free.put_nowait(Connection())
        running: set[asyncio.Task[None]] = set()
        began_s = time.perf_counter()
        for moment in moments:
            wait_s = began_s + moment - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            task = asyncio.create_task(self._on_a_free_one(free, began_s + moment))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _on_a_free_one(self, free: asyncio.Queue[Connection], due_s: float) -> None:
        connection = await free.get()
        free.put_nowait(await self._ask(connection, due_s))

    async def _ask(self, connection: Connection, due_s: float) -> Connection:
        """One request, counted; the connection to go on with."""
        request_id, request = self.bodies.next()
        try:
            if not connection.is_open:
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(
                    Connection, "127.0.0.1", self.load.port
                )
            status, body = await connection.ask(request)
        except (TimeoutError, OSError) as error:
            self.statuses["cut_off" if self.load.patient else type(error).__name__] += 1
            if self.load.patient:
                await asyncio.sleep(0.05)
            return Connection()
        self.latencies.append(time.perf_counter() - due_s)
        if self.load.trail:
            self.trail.append(f"{time.time():.6f} {self.latencies[-1]:.6f}")
        self.statuses[str(status)] += 1
        if status == 200:
            self._note(request_id, body)
        return connection

    def _note(self, request_id: str, body: bytes) -> None:
        reply = _REPLY.decode(body)
        self.degraded[reply.degraded or ""] += 1
        if self.load.note:
            self.notes.append(f"{request_id} {reply.prediction_id} {reply.model_version}")

    def figures(self) -> dict[str, Any]:
        """Counts, latencies in milliseconds, and the rate that came of it."""
        found = np.array(self.latencies or [0.0]) * 1e3
        if self.load.note:
            with Path(self.load.note).open("a") as file:
                file.writelines(f"{line}\n" for line in self.notes)
        if self.load.trail:
            Path(self.load.trail).write_text("".join(f"{line}\n" for line in self.trail))
        return {
            "n": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "degraded": dict(self.degraded),
            "p50_ms": round(float(np.percentile(found, 50)), 3),
            "p99_ms": round(float(np.percentile(found, 99)), 3),
            "max_ms": round(float(found.max()), 3),
            "rps": round(len(self.latencies) / self.took_s, 1) if self.took_s else 0.0,
            "took_s": round(self.took_s, 2),
        }


class _Reply(msgspec.Struct):
    """What of a reply is looked at."""

    prediction_id: str = ""
    model_version: str = ""
    degraded: str | None = None


_REPLY = msgspec.json.Decoder(_Reply)


def main(text: str) -> int:
    """Runs the load that the JSON text describes and prints its figures."""
    run = Run(msgspec.json.decode(text, type=Load))
    try:
        import uvloop

        uvloop.run(run.all())
    except ImportError:
        asyncio.run(run.all())
    print(msgspec.json.encode(run.figures()).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
