"""When an answer's labels are stated, and how long what bears on them is remembered."""

from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from core.attribution import Windows
from core.settings import Settings
from schemas.errors import BadSettings
from schemas.outcomes import LabelAge

FINAL: LabelAge = "final"
_EARLY_MS: dict[LabelAge, int] = {"5m": 5 * 60_000, "1h": 3_600_000, "24h": 86_400_000}


def windows_of(settings: Settings) -> Windows:
    """The join's windows of these settings.

    >>> windows_of(Settings(label_ages="1h")).early
    ('1h',)

    Raises:
        BadSettings: a label age that does not exist.
    """
    named = [part for part in settings.label_ages.split(",") if part]
    early = tuple(age for age in _EARLY_MS if age in named)
    if len(early) != len(named):
        wanted = ",".join(_EARLY_MS)
        raise BadSettings(f"SHOPLOOP_LABEL_AGES={settings.label_ages!r}: expected some of {wanted}")
    return Windows(
        click_ms=settings.click_window_ms,
        purchase_ms=settings.purchase_window_ms,
        skew_ms=settings.orphan_skew_ms,
        early=early,
    )


class Plan(NamedTuple):
    """What is due of an answer, stage by stage: the age to state, and how long after the answer.

    After the last age the answer is forgotten, so `after_ms` has one more than `ages`.
    """

    ages: tuple[LabelAge, ...]
    after_ms: tuple[int, ...]


@lru_cache(maxsize=8)
def plan(shown: bool, windows: Windows) -> Plan:
    """The plan of an answer: one that was not shown is stated at the end of its window alone.

    >>> plan(False, Windows(click_ms=1, purchase_ms=86_400_000, skew_ms=0))
    Plan(ages=('final',), after_ms=(86400000, 172800000))
    """
    wanted = [(age, _EARLY_MS[age]) for age in windows.early] if shown else []
    early = sorted((each for each in wanted if each[1] < windows.purchase_ms), key=itemgetter(1))
    ages = [*early, (FINAL, windows.purchase_ms)]
    moments = [after_ms for _, after_ms in ages]
    return Plan(tuple(age for age, _ in ages), (*moments, memory_ms(windows)))


def memory_ms(windows: Windows) -> int:
    """How long facts and closed answers are kept: two windows and the skew."""
    return 2 * windows.purchase_ms + windows.skew_ms
