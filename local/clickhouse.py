"""The embedded ClickHouse endpoint: a child process that owns a chDB directory and speaks HTTP.

`python -m local.clickhouse --data DIR --port N` is that process; `EmbeddedClickHouse` starts it.
Clients use the ordinary ClickHouse HTTP client on its address. Creates no tables.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from local.child import Child, Spec, answers_ok
from local.exits import run_main
from local.lock import HomeLock

PORT = 18123
DATABASE = "shoploop"
log = logging.getLogger(__name__)


class EmbeddedClickHouse:
    """The endpoint as a child process whose data outlives it.

    Args:
        data_dir: where chDB's files and the log live.
        port: the HTTP port on loopback.
        database: created when missing; part of the address.
    """

    def __init__(self, data_dir: Path, port: int = PORT, database: str = DATABASE) -> None:
        self.data_dir = data_dir
        self.port = port
        self.database = database
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """The address with its database, the form every client takes."""
        return f"http://127.0.0.1:{self.port}/{self.database}"

    @property
    def pid(self) -> int | None:
        """The endpoint's process id, none before the start."""
        return self._child.pid if self._child else None

    @property
    def log_file(self) -> Path:
        """Where the endpoint writes what it has to say."""
        return self.data_dir / "clickhouse.log"

    def spec(self) -> Spec:
        """What a supervisor runs."""
        arguments = ("--data", str(self.data_dir), "--port", str(self.port))
        command = (sys.executable, "-m", "local.clickhouse", *arguments)
        return Spec(
            name="clickhouse",
            command=(*command, "--database", self.database),
            ready=self._ready,
            ports=(self.port,),
        )

    def start(self) -> None:
        """Start the endpoint and return when it answers."""
        child = Child(self.spec(), self.log_file)
        child.start()
        self._child = child
        try:
            child.wait_ready()
        except BaseException:
            child.stop()
            raise

    def stop(self) -> None:
        """Stop the endpoint: SIGTERM, SIGKILL after a deadline. Its data stays."""
        if self._child is not None:
            self._child.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _ready(self) -> bool:
        return answers_ok(f"http://127.0.0.1:{self.port}/ping")


def serve(data_dir: Path, port: int, database: str) -> int:
    """Serve the directory until SIGTERM or SIGINT, then let running statements end."""
    from local.chdb_engine import Engine
    from local.clickhouse_http import Server

    with HomeLock(data_dir, "the ClickHouse endpoint"):
        server = Server(port, Engine(data_dir / "chdb", database))

        def stop(_signal: int, _frame: FrameType | None) -> None:
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        server.serve_forever(poll_interval=0.1)
        server.server_close()
        if not server.drain():
            log.warning("stopped with statements under way")
            os._exit(1)
        server.engine.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The endpoint's command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.clickhouse", description="Serve a chDB directory over HTTP."
    )
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    parser.add_argument("--port", type=int, default=PORT, help="the HTTP port on loopback")
    parser.add_argument("--database", default=DATABASE, help="the database, created when missing")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO)
    return run_main(lambda: serve(chosen.data, chosen.port, chosen.database))


if __name__ == "__main__":
    raise SystemExit(main())
