"""One rate for all processes of a machine: as one bucket would grant, also over kills."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.shared_rates import GROUPS, IN_GROUP, SharedBuckets, buckets_of
from core.rate_limit import Buckets, Limit
from core.settings import Settings

ROOT = Path(__file__).parents[2]
TAKER = """
import sys
from pathlib import Path
from adapters.shared_rates import SharedBuckets
from core.rate_limit import Limit
buckets = SharedBuckets(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(sum(buckets.take("k", Limit(0.001, 3_000), 100.0).granted for _ in range(2_000)))
"""
TAKES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from("abc"),
        st.integers(1, 4),
        st.integers(0, 1),
        st.floats(0, 2, width=16),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(TAKES, st.floats(0.25, 8, width=16), st.integers(1, 5))
def test_several_processes_grant_what_one_bucket_would(
    takes: list[tuple[int, str, int, int, float]], rate: float, burst: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates"
        shared, one = [SharedBuckets(path) for _ in range(3)], Buckets()
        now_s, limit = 1_000.0, Limit(rate, burst)
        for process, caller, cost, paid, passed_s in takes:
            now_s += passed_s
            expected = one.take(caller, limit, now_s, cost, paid)
            assert shared[process].take(caller, limit, now_s, cost, paid) == expected


def test_processes_that_take_at_once_lose_no_count(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKER, str(tmp_path / "rates")]
    children = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    granted = [int(child.communicate("go\n", timeout=60)[0]) for child in children]
    assert sum(granted) == 3_000


def test_a_process_that_was_killed_or_stopped_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "rates"
    holder = "import fcntl, sys\nf = open(sys.argv[1], 'r+b')\nfcntl.lockf(f, fcntl.LOCK_EX)\n"
    holder += "print('held', flush=True)\nsys.stdin.read()"
    buckets, limit = SharedBuckets(path), Limit(1.0, 2)
    command = [sys.executable, "-c", holder, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        began_s = time.monotonic()
        assert [buckets.take("k", limit, 5.0).granted for _ in range(3)] == [True, True, False]
        assert time.monotonic() - began_s < 60.0
        child.kill()
    assert not SharedBuckets(path).take("k", limit, 5.0).granted


def test_a_full_table_forgets_those_that_are_soonest_rested(tmp_path: Path) -> None:
    buckets, limit = SharedBuckets(tmp_path / "rates"), Limit(1.0, 1)
    for number in range(3 * GROUPS * IN_GROUP):
        assert buckets.take(f"c{number}", limit, 10.0).granted
    assert not buckets.take(f"c{number}", limit, 10.0).granted
    assert (tmp_path / "rates").stat().st_size < 1_000_000


def test_all_of_the_table_is_on_disk_so_that_a_full_one_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / "rates"
    with path.open("wb") as sparse:
        sparse.truncate(GROUPS)
    SharedBuckets(path)
    found = path.stat()
    assert found.st_blocks * 512 >= found.st_size > GROUPS


def test_the_table_is_this_boots_and_without_one_each_counts_for_itself(tmp_path: Path) -> None:
    made = buckets_of(Settings(home=str(tmp_path)))
    assert isinstance(made, SharedBuckets)
    (path,) = (tmp_path / "serving" / "rates").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    taken = tmp_path / "file"
    taken.write_text("no folder")
    assert isinstance(buckets_of(Settings(home=str(taken))), Buckets)
