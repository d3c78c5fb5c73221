"""Calls made again under one key, to whichever process: kills, restarts, a file that fails."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Denied
from serving.answered import Answered, Work
from serving.idempotency import Kept, digest_of
from serving.repeats import MOST_TOGETHER, MOST_WAITING, SharedRepeats
from serving.responses import Response, json_response

ROOT = Path(__file__).parents[2]
BODY = digest_of(b"{}")
# Begins and ends calls 0, 1, … until it is killed, and says which it has answered.
ENDLESS = """
import sys
from pathlib import Path
from serving.answered import Answered
from serving.responses import json_response
file, number = Answered(Path(sys.argv[1])), 0
while True:
    place = f"p{number}"
    file.together([lambda: file.begin(place, bytes.fromhex(sys.argv[2]))])
    file.together([lambda: file.end(place, json_response(200, number))])
    print(number, flush=True)
    number += 1
"""


class Hanging(Answered):
    """A file on a disk that does not answer until it goes on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.goes_on = threading.Event()

    def together(self, works: Sequence[Work]) -> list[Any]:
        """As the file, once it goes on."""
        self.goes_on.wait(30.0)
        return super().together(works)


def begun(file: Answered, place: str, body: bytes = BODY) -> Kept | None:
    (found,) = file.together([lambda: file.begin(place, body)])
    assert found is None or isinstance(found, Kept)
    return found


def ended(file: Answered, place: str, value: Any = "said") -> None:
    response = None if value is None else json_response(200, value)
    file.together([lambda: file.end(place, response)])


@contextmanager
def processes(folder: Path, number: int = 2) -> Iterator[list[SharedRepeats]]:
    """As many processes' memories as these, on one file."""
    made = [SharedRepeats(Answered(folder)) for _ in range(number)]
    try:
        yield made
    finally:
        for each in made:
            each.close()


def counts(repeats: SharedRepeats) -> dict[str, float]:
    (metric,) = repeats.collect()
    return {each.labels["result"]: each.value for each in metric.samples if each.value}


def run(steps: Callable[[], Awaitable[None]]) -> None:
    async def all_of() -> None:
        await steps()

    asyncio.run(all_of())


def test_what_one_process_answered_the_others_give_again(tmp_path: Path) -> None:
    with processes(tmp_path) as (one, two):

        async def steps() -> None:
            said = Response(200, b'"said"', headers=(("RateLimit", "3"),))
            assert await one.begin("p", b"{}") is None
            for each in (one, two):
                with pytest.raises(Denied) as conflict:
                    await each.begin("p", b"{}")
                assert conflict.value.status == 409
            await one.end("p", said)
            for each in (one, two, two):
                assert await each.begin("p", b"{}") == said._replace(headers=())
                with pytest.raises(Denied) as reused:
                    await each.begin("p", b"[]")
                assert reused.value.status == 422

        run(steps)
        assert (counts(one), counts(two)) == ({"here": 1.0}, {"here": 1.0, "elsewhere": 1.0})


def test_an_answer_that_does_not_last_leaves_no_trace(tmp_path: Path) -> None:
    passing = [None, Response(503, b""), Response(207, b"", is_final=False)]
    with processes(tmp_path) as (one, two):

        async def steps() -> None:
            for response in passing:
                for each in (one, two):
                    assert await each.begin("p", b"{}") is None
                    await each.end("p", response)

        run(steps)


def test_many_calls_at_once_are_begun_by_one_process_each(tmp_path: Path) -> None:
    firsts: list[str] = []
    refused: list[int] = []

    async def call(repeats: SharedRepeats, place: str) -> None:
        try:
            if await repeats.begin(place, b"{}") is None:
                firsts.append(place)
                await repeats.end(place, json_response(200, place))
        except Denied as error:
            refused.append(error.status)

    with processes(tmp_path, 3) as made:

        async def steps() -> None:
            places = [f"p{number}" for number in range(40)]
            await asyncio.gather(*(call(each, place) for place in places for each in made))

        run(steps)
        assert sorted(firsts) == sorted(set(firsts))
        assert len(firsts) == 40
        assert set(refused) <= {409}
        assert sum(counts(each).get("failed", 0) for each in made) == 0


def test_without_keys_there_is_neither_thread_nor_file(tmp_path: Path) -> None:
    with processes(tmp_path / "none") as (one, _):
        assert one._thread is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("answered", [1, 40])
def test_a_process_killed_at_any_moment_leaves_what_it_answered_and_nothing_else(
    tmp_path: Path, answered: int
) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path), BODY.hex()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(answered):
            child.stdout.readline()
        child.kill()
        said = answered + len([*child.stdout])
    other = Answered(tmp_path)
    for number in range(said):
        found = begun(other, f"p{number}")
        assert found is not None
        assert found.response == json_response(200, number)
    # The last one may have been safe but not said; those after it are free at once.
    last = begun(other, f"p{said}")
    assert last is None or last.response == json_response(200, said)
    assert begun(other, f"p{said + 1}") is None
    other.close()


def test_a_process_that_starts_anew_knows_what_was_answered(tmp_path: Path) -> None:
    before = Answered(tmp_path)
    begun(before, "p"), ended(before, "p"), begun(before, "open")
    before.close()
    after = Answered(tmp_path)
    found = begun(after, "p")
    assert found is not None
    assert found.response == json_response(200, "said")
    assert begun(after, "open") is None
    after.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".sqlite"]
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}


def test_a_day_old_answer_and_a_lost_call_are_made_anew(tmp_path: Path) -> None:
    now_s = [1_000.0]
    one, two = (Answered(tmp_path, lambda: now_s[0]) for _ in range(2))
    begun(one, "p"), ended(one, "p"), begun(one, "lost")
    now_s[0] += 119.0
    assert begun(two, "lost") is not None
    now_s[0] += 2.0
    assert begun(two, "lost") is None
    ended(one, "lost", "late")  # it is another's by now
    found = begun(one, "lost")
    assert found is not None
    assert found.response is None
    now_s[0] += 86_400.0
    assert begun(two, "p", digest_of(b"[]")) is None
    one.close(), two.close()


def test_the_file_stays_within_its_bound_and_forgets_the_oldest(tmp_path: Path) -> None:
    file = Answered(tmp_path, most_bytes=1_000_000)
    for number in range(800):
        place, value = f"p{number}", "x" * 2_000
        works = [lambda p=place: file.begin(p, BODY)]
        works.append(lambda p=place, v=value: file.end(p, json_response(200, v)))
        file.together(works)
    assert begun(file, "p0") is None
    assert begun(file, "p799") is not None
    file.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.sqlite")) < 2_000_000


def test_a_wrecked_file_fails_no_call_and_is_begun_anew(tmp_path: Path) -> None:
    first = Answered(tmp_path)
    begun(first, "p")
    first.close()
    (path,) = tmp_path.glob("*.sqlite")
    path.write_bytes(b"no database" * 1_000)
    now_s = [0.0]
    repeats = SharedRepeats(Answered(tmp_path), lambda: now_s[0])

    async def steps() -> None:
        assert await repeats.begin("p", b"{}") is None
        await repeats.end("p", json_response(200, "said"))
        now_s[0] += 10.0
        assert await repeats.begin("q", b"{}") is None
        await repeats.end("q", json_response(200, "said"))

    run(steps)
    assert counts(repeats) == {"failed": 1.0}
    assert not repeats._left  # of a call that the file does not know nothing is to be told later
    repeats.close()
    other = Answered(tmp_path)
    found = begun(other, "q")
    assert found is not None
    assert found.response is not None
    other.close()


def test_a_file_that_is_wrecked_within_is_begun_anew_too(tmp_path: Path) -> None:
    first = Answered(tmp_path)
    for number in range(100):
        begun(first, f"p{number}"), ended(first, f"p{number}", "x" * 1_000)
    first.close()
    (path,) = tmp_path.glob("*.sqlite")
    head, rest = path.read_bytes()[:4_096], path.stat().st_size - 4_096
    path.write_bytes(head + b"\xff" * rest)
    other = Answered(tmp_path)
    with pytest.raises(sqlite3.DatabaseError):
        begun(other, "q")
    assert begun(other, "q") is None
    other.close()


def test_a_new_process_takes_out_what_is_older_than_a_day(tmp_path: Path) -> None:
    now_s = [1_000.0]
    first = Answered(tmp_path, lambda: now_s[0])
    begun(first, "p"), ended(first, "p")
    first.close()
    now_s[0] += 2 * 86_400.0
    second = Answered(tmp_path, lambda: now_s[0])
    begun(second, "q")
    second.close()
    (path,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT place FROM answers").fetchall() == [("q",)]
    db.close()


def test_while_the_file_hangs_what_waits_for_it_does_not_grow(tmp_path: Path) -> None:
    hanging = Hanging(tmp_path)
    repeats = SharedRepeats(hanging)

    async def call(number: int) -> None:
        assert await repeats.begin(f"p{number}", b"{}") is None
        await repeats.end(f"p{number}", json_response(200, number))

    async def steps() -> None:
        await asyncio.gather(*(call(number) for number in range(MOST_WAITING + 100)))
        waiting = repeats._asked.qsize()
        assert waiting <= 2 * (MOST_WAITING + MOST_TOGETHER)
        await call(-1)
        assert repeats._asked.qsize() == waiting

    run(steps)
    hanging.goes_on.set()
    repeats.close()


def test_a_locked_file_fails_no_call_and_hears_later_what_was_answered(tmp_path: Path) -> None:
    with processes(tmp_path) as (one, two):

        async def steps() -> None:
            assert await one.begin("p", b"{}") is None
            (path,) = tmp_path.glob("*.sqlite")
            with sqlite3.connect(path, isolation_level=None) as locking:
                locking.execute("BEGIN IMMEDIATE")
                await one.end("p", json_response(200, "said"))
                assert await one.begin("q", b"{}") is None
                locking.execute("COMMIT")
            locking.close()
            assert counts(one)["failed"] >= 2.0
            deadline_s = time.monotonic() + 60.0
            while True:
                assert time.monotonic() < deadline_s
                try:
                    if await two.begin("p", b"{}") == json_response(200, "said"):
                        return
                except Denied:
                    await asyncio.sleep(0.01)

        run(steps)
