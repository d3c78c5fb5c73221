"""A signal that the system hands to a thread that does not wait for it ends the process, too."""

import subprocess
import sys

PROGRAM = """
import signal, threading
from serving.guard import Guard

guard = Guard()
signal.signal(signal.SIGTERM, lambda *_: guard.stop())

def elsewhere():
    while not waits.is_set():
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Event().wait()

waits = threading.Event()
threading.Thread(target=elsewhere, daemon=True).start()
threading.Timer(0.5, waits.set).start()
guard.wait()
"""


def test_a_signal_that_another_thread_was_handed_is_heard() -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM], timeout=120).returncode == 0
