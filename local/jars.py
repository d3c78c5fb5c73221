"""The broker's jar files: which ones, fetched from the public registry, checked against the lock.

Holds the lock file's format, the download and the check. Knows nothing about running Kafka.
The registry's address is the library's business (maven-artifact), not ours.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from schemas.errors import BadSettings, Unavailable

KAFKA = "org.apache.kafka:kafka_2.13:4.4.0"
LOGGING = "org.slf4j:slf4j-simple:1.7.36"
LOCK = Path(__file__).with_name("kafka_jars.lock")
_CHUNK_BYTES = 1 << 16
_PARALLEL = 8
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Jar:
    """One line of the lock: a coordinate, its digest and its size."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def coordinate(self) -> str:
        """The registry's name for this file, `group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        """The name the file has in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    def line(self) -> str:
        """The jar as a line of the lock file."""
        return f"{self.coordinate} {self.sha256} {self.size_bytes}"


def cache_dir() -> Path:
    """The folder in the user's cache that holds the jars."""
    return Path(platformdirs.user_cache_dir("shoploop")) / "jars"


def read_lock(path: Path = LOCK) -> tuple[Jar, ...]:
    """The jars of the lock file, in its order.

    Raises:
        BadSettings: the file is missing, or a line is not `group:artifact:version sha256 size`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSettings(f"jar lock {path}: cannot be read ({error.strerror})") from error
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(_parse(line, path) for line in lines)


def _parse(line: str, path: Path) -> Jar:
    try:
        coordinate, sha256, size = line.split()
        group, artifact, version = coordinate.split(":")
        return Jar(group, artifact, version, sha256, int(size))
    except ValueError as error:
        expected = "group:artifact:version sha256 size"
        raise BadSettings(f"jar lock {path}: line {line!r} is not {expected!r}") from error


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(jar: Jar, path: Path) -> None:
    """Pass when the file's digest is the lock's.

    Raises:
        BadSettings: it is another file; the text says which, both digests and how to mend it.
    """
    actual = digest(path)
    if actual != jar.sha256:
        raise BadSettings(
            f"jar {path}: SHA-256 is {actual}, the lock expects {jar.sha256}; "
            "delete the file or run `shoploop up --refetch`"
        )


def ensure(
    cache: Path | None = None, *, lock: Path = LOCK, refetch: bool = False
) -> tuple[Path, ...]:
    """The paths of every locked jar, fetched where missing and checked always.

    Args:
        cache: folder of the jars, the user's cache by default.
        lock: the lock file to obey.
        refetch: replace files whose digest is not the lock's instead of refusing them.

    Raises:
        BadSettings: a file is not the one the lock names.
        Unavailable: the registry cannot be reached or does not have a jar.
    """
    folder = cache or cache_dir()
    jars = read_lock(lock)
    missing = [jar for jar in jars if _must_fetch(jar, folder / jar.filename, refetch=refetch)]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch_all(missing, folder)
    return tuple(folder / jar.filename for jar in jars)


def _must_fetch(jar: Jar, path: Path, *, refetch: bool) -> bool:
    if not path.exists():
        return True
    try:
        check(jar, path)
    except BadSettings:
        if not refetch:
            raise
        return True
    return False


def _fetch_all(jars: Sequence[Jar], folder: Path) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as progress:
        total = sum(jar.size_bytes for jar in jars)
        task = progress.add_task(f"fetching {len(jars)} jars of Kafka", total=total)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            futures = [pool.submit(_fetch, jar, folder) for jar in jars]
            try:
                for future in as_completed(futures):
                    progress.advance(task, future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _fetch(jar: Jar, folder: Path) -> int:
    partial = folder / f"{jar.filename}.part"
    with partial.open("wb") as file:
        for chunk in _download(jar):
            file.write(chunk)
    try:
        check(jar, partial)
    except BadSettings as error:
        partial.unlink()
        raise Unavailable(
            f"jar {jar.coordinate}: the registry's file is not the one the lock names "
            f"({error}); try again, or regenerate the lock with `python -m local.jars lock`"
        ) from error
    partial.replace(folder / jar.filename)
    return jar.size_bytes


def _download(jar: Jar) -> Iterable[bytes]:
    import requests
    from maven_artifact import Artifact, Downloader

    library: Any = Downloader()
    address = library.resolver.uri_for_artifact(Artifact(jar.group, jar.artifact, jar.version))
    try:
        reply = library.requestor.request(address, None, stream=True, timeout=_TIMEOUT_S)
        yield from reply.iter_content(_CHUNK_BYTES)
    except requests.RequestException as error:
        raise Unavailable(
            f"jar {jar.coordinate}: cannot be fetched from Maven Central "
            f"({type(error).__name__}); connect to the network, or copy {jar.filename} "
            f"into {cache_dir()}"
        ) from error


def resolve_lock(cache: Path) -> tuple[Jar, ...]:
    """The runtime jars that Kafka's own metadata asks for, resolved anew (needs `jgo`).

    Raises:
        BadSettings: the package jgo is not installed.
    """
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise BadSettings("`python -m local.jars lock` needs the package jgo") from error
    context = MavenContext(repo_cache=cache)
    wanted = [context.create_dependency(name) for name in (KAFKA, LOGGING)]
    direct, transitive = context.resolver.resolve(wanted)
    return tuple(sorted((_locked(each) for each in (*direct, *transitive)), key=Jar.line))


def _locked(dependency: Any) -> Jar:
    path = Path(dependency.artifact.resolve())
    name = (dependency.groupId, dependency.artifactId, dependency.version)
    return Jar(*name, sha256=digest(path), size_bytes=path.stat().st_size)


def write_lock(jars: Iterable[Jar], path: Path = LOCK) -> None:
    """Write the lock file, one jar a line."""
    head = "# group:artifact:version sha256 size; regenerate with `python -m local.jars lock`\n"
    path.write_text(head + "".join(f"{jar.line()}\n" for jar in jars), encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """`lock` regenerates the lock file, `fetch` fills the cache."""
    if list(arguments) == ["lock"]:
        write_lock(resolve_lock(cache_dir() / "registry"))
        return 0
    if list(arguments) == ["fetch"]:
        sys.stdout.write("".join(f"{path}\n" for path in ensure()))
        return 0
    sys.stderr.write("usage: python -m local.jars lock|fetch\n")
    return 2


if __name__ == "__main__":
    from local.exits import run_main

    raise SystemExit(run_main(lambda: main(sys.argv[1:])))
