"""How often the cycle collector runs in processes whose records are many and short-lived."""

import gc


def collect_seldom() -> None:
    """Sets aside what is alive now, and lets the collector look at the rest a hundredth as often.

    Records hold no cycles: walking them found nothing and cost a tenth of a process's time. The
    middle generation is looked at often: a million of its objects take .4 s, and all threads wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 2, 500)


def set_aside() -> None:
    """What is alive now, as a state just read, is not walked again by the collector."""
    gc.freeze()
