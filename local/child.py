"""One child process: started with a log file, waited for until ready, stopped within a deadline.

Knows nothing of what the child does.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import BadSettings, Unavailable

PROBE_EVERY_S = 0.05
_TAIL_BYTES = 4096
_LINE_CHARACTERS = 300


@dataclass(frozen=True)
class Spec:
    """What to run and how to tell that it is ready.

    `ready` is asked again and again and answers at once. `port` is only for a clear refusal.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    environ: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()
    ready_within_s: float = 60.0
    stop_within_s: float = 20.0


class Child:
    """A running process of a spec; its output goes to the end of a log file."""

    def __init__(self, spec: Spec, log_file: Path) -> None:
        self.spec = spec
        self.log_file = log_file
        self.started_at_s = time.time()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process without waiting for it to be ready.

        Raises:
            BadSettings: one of its ports is taken, or its program does not exist.
        """
        for port in self.spec.ports:
            refuse_taken_port(self.spec.name, port)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.started_at_s = time.time()
        with self.log_file.open("ab") as log:
            try:
                # Its own session: a Ctrl-C at the terminal reaches the supervisor alone,
                # which then stops its children in order.
                self._process = subprocess.Popen(
                    list(self.spec.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.spec.environ},
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                program = self.spec.command[0]
                raise BadSettings(f"{self.spec.name}: program {program} not found") from error

    @property
    def pid(self) -> int | None:
        """The process id, none before the first start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """The status it ended with, none while it runs."""
        return self._process.poll() if self._process else None

    def wait_ready(self) -> float:
        """Wait until the spec's probe says yes; the seconds since the start.

        Raises:
            Unavailable: it ended or was not ready within the spec's deadline.
        """
        deadline = time.monotonic() + self.spec.ready_within_s
        while not self.spec.ready():
            if not self.alive:
                raise Unavailable(
                    f"{self.spec.name} ended with status {self.exit_status} before it was ready: "
                    f"{last_line(self.log_file)} (log: {self.log_file})"
                )
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{self.spec.name} was not ready within {self.spec.ready_within_s:g} s: "
                    f"{last_line(self.log_file)} (log: {self.log_file})"
                )
            time.sleep(PROBE_EVERY_S)
        return time.time() - self.started_at_s

    def terminate(self) -> None:
        """Ask the process to end, without waiting."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL after the spec's deadline."""
        self.terminate()
        if self._process is None:
            return
        try:
            self._process.wait(self.spec.stop_within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def last_line(log_file: Path) -> str:
    """The last line of a log that says something, for an error message."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, log_file.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return "no log"
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][-_LINE_CHARACTERS:] if said else "it said nothing"


def refuse_taken_port(name: str, port: int) -> None:
    """Pass when the loopback port is free.

    Raises:
        BadSettings: something listens there; the text says who, when the system tells.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BadSettings(
                f"port {port} for {name} is taken{_holder(port)}: "
                "stop what listens there or choose another port"
            ) from error


def _holder(port: int) -> str:
    import psutil

    try:
        for each in psutil.net_connections("tcp"):
            if each.laddr and each.laddr.port == port and each.status == "LISTEN" and each.pid:
                return f" by process {each.pid} ({psutil.Process(each.pid).name()})"
    except psutil.Error:
        return ""
    return ""


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def answers_ok(url: str) -> bool:
    """Whether a GET of a loopback address is answered with 200 now."""
    # The certificate may name another host; nothing is sent that a stranger could use.
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
    )
    try:
        with opener.open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def accepts(port: int) -> bool:
    """Whether something accepts a connection on this loopback port now."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
