"""Detectors of what an operator should know: thresholds, minimum n, a real shop's quiet year."""

import math
import random
from collections import Counter

import msgspec
import pytest

from core.alerts import Alerts
from core.anomalies_service import SPAN_MS, ServiceSpans
from core.anomalies_shares import LEAST_N, ShareHours
from core.anomalies_traffic import TrafficHours
from core.replay_plan import Broken, Happened
from core.traffic_tally import HOUR_MS, TrafficTally, keeps_pace
from core.watch_traffic import TrafficWatch
from local.retail_source import entries, read_lines
from schemas.metrics import Alert
from schemas.outcomes import HourSeen, TrafficSeen

OPEN = range(8, 20)


def poisson(chance: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count += 1
        product *= chance.random()
    return count


def shop(weeks: int, mean: float, seed: int = 3) -> list[int]:
    """Hours of a shop that is open from 8 to 20 but on Sundays."""
    chance = random.Random(seed)
    return [
        poisson(chance, mean) if hour % 24 in OPEN and (hour // 24) % 7 != 6 else 0
        for hour in range(weeks * 168)
    ]


def collapses(counts: list[int]) -> list[int]:
    """Hours after whose end traffic counts as collapsed or is back, in turn."""
    series, turns = TrafficHours(), []
    for hour, count in enumerate(counts):
        before = series.collapsed
        series.add(hour, count)
        if series.collapsed != before:
            turns.append(hour)
    return turns


@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0, 400.0, 20_000.0])
@pytest.mark.parametrize("clump", [1, 10])
def test_a_year_of_nights_and_sundays_is_no_collapse(mean: float, clump: int) -> None:
    assert collapses([count * clump for count in shop(52, mean)]) == []


@pytest.mark.parametrize(("mean", "within_h"), [(30.0, 2), (400.0, 1), (20_000.0, 1)])
def test_traffic_that_stops_while_the_shop_is_open_is_found_and_cleared(
    mean: float, within_h: int
) -> None:
    counts = shop(12, mean)
    noon = 10 * 168 + 12
    counts[noon : noon + 5] = [0] * 5
    raised, cleared = collapses(counts)
    assert noon <= raised < noon + within_h
    assert noon + 5 <= cleared <= noon + 7


def test_a_holiday_begins_at_night_and_is_no_collapse() -> None:
    counts = shop(12, 400.0)
    counts[10 * 168 : 10 * 168 + 48] = [0] * 48
    assert collapses(counts) == []


def test_a_season_that_goes_down_is_no_collapse() -> None:
    counts = shop(26, 400.0)
    faded = [int(count * 0.7 ** (hour / 168)) for hour, count in enumerate(counts)]
    assert collapses(faded) == []


def test_a_young_shop_is_not_judged() -> None:
    counts = shop(3, 400.0)
    counts[2 * 168 + 12 :] = [0] * (168 - 12)
    assert collapses(counts) == []


def test_the_series_keeps_eight_weeks_or_nine() -> None:
    series = TrafficHours()
    for hour, count in enumerate(shop(52, 20.0)):
        series.add(hour, count)
    assert len(series.totals) <= 9 * 168 + 1


def test_one_file_of_dirt_is_no_jump_and_a_lasting_one_is() -> None:
    share = ShareHours(least_rise=0.2, whatever=0.5)
    for hour in range(100):
        share.add(hour, 1, 60)
    assert share.add(100, 80, 200) is None
    for hour in range(101, 110):
        assert share.add(hour, 1, 60) is not True
    assert [share.add(hour, 25, 60) for hour in range(110, 114)][-1] is True
    assert share.raised_hour > 0
    assert [share.add(hour, 1, 60) for hour in range(114, 120)][-1] is False
    assert share.raised_hour == -1


def test_a_share_of_few_records_says_nothing() -> None:
    share = ShareHours(least_rise=0.2, whatever=0.5)
    assert share.add(0, LEAST_N - 2, LEAST_N - 2) is None
    assert share.add(1, 1, 1) is None
    assert share.add(2, 1, 1) is True


def test_items_that_come_in_clumps_do_not_alarm_by_luck() -> None:
    chance, share = random.Random(5), ShareHours(least_rise=0.2)
    verdicts = set()
    for hour in range(3_000):
        orders = [chance.randint(1, 40) for _ in range(poisson(chance, 3.0))]
        lost = sum(n for n in orders if chance.random() < 0.5)
        verdicts.add(share.add(hour, lost, sum(orders)))
    assert True not in verdicts


def test_one_pause_is_not_slow_service_and_a_slow_hour_is() -> None:
    spans = ServiceSpans(promised=0.01)
    said = [spans.add(i * SPAN_MS // 50, 1_000 <= i < 1_020) for i in range(2_000)]
    assert True not in said
    said = [spans.add(i * SPAN_MS // 50, i % 20 == 0) for i in range(2_000, 2_600)]
    assert True in said
    said = [spans.add(i * SPAN_MS // 50, False) for i in range(2_600, 3_200)]
    assert said[-50:].count(True) == 0
    assert False in said


def test_a_visitor_is_too_fast_only_within_one_minute() -> None:
    class Facts:
        minute, in_minute = -1, 0

    slow, fast = Facts(), Facts()
    assert all(keeps_pace(slow, at_s * 1_000, 30) for at_s in range(0, 600, 3))
    assert not all(keeps_pace(fast, at_s * 1_000, 30) for at_s in range(60))


def test_a_tally_says_each_hour_once_and_goes_on_from_its_state() -> None:

    tally, hours = TrafficTally(), Counter[int]()
    for minute in range(0, 600, 7):
        if minute * 60_000 >= tally.turns_ms:
            tally.turn(minute * 60_000)
        tally.events += 1
        said = tally.close(minute * 60_000, "recommend", 1)
        if said is not None:
            hours.update({each.hour: each.events for each in said.hours})
            assert said.until_hour == minute // 60
        tally = msgspec.msgpack.decode(msgspec.msgpack.encode(tally), type=TrafficTally)
    assert hours == Counter(minute // 60 for minute in range(0, 540, 7))


def test_an_hour_waits_for_the_partition_that_lags() -> None:
    def said(partition: int, until: int, *hours: HourSeen) -> TrafficSeen:
        return TrafficSeen(
            traffic_id=f"{partition}/{until}",
            event_time_ms=until * HOUR_MS,
            task="recommend",
            partition=partition,
            until_hour=until,
            hours=list(hours),
        )

    watch = TrafficWatch()
    watch.seen(said(0, 10))
    watch.seen(said(1, 10))
    watch.seen(said(0, 12, HourSeen(10, 4), HourSeen(11, 5)))
    assert watch.state.next_hour == 10
    watch.seen(said(1, 11, HourSeen(10, 6)))
    assert watch.state.next_hour == 11
    assert watch.state.events.totals[-1] == 10


def test_who_bursts_is_left_out_for_a_day_and_the_alert_clears_an_hour_later() -> None:
    watch, alerts = TrafficWatch(), Alerts("recommend")
    at_ms = 100 * HOUR_MS
    burst = TrafficSeen(
        traffic_id="t",
        event_time_ms=at_ms,
        task="recommend",
        partition=0,
        until_hour=100,
        bursts={"bot": 300},
    )
    (raised,) = alerts.step(watch.seen(burst))
    assert (raised.name, raised.evidence["events_a_minute"]) == ("burst", 300.0)
    assert "bot" not in raised.summary
    assert watch.leaves_out("bot", at_ms)
    assert watch.leaves_out("bot", at_ms + 24 * HOUR_MS)
    assert not watch.leaves_out("bot", at_ms + 24 * HOUR_MS + 1)
    assert not watch.leaves_out("shopper", at_ms)
    said = [alerts.step(watch.close(at_ms + m * 60_000)) for m in range(80)]
    assert [m for m, each in enumerate(said) if each] == [61]
    watch.close(at_ms + 72 * HOUR_MS)
    assert watch.state.suspects == {}


def retail_hours() -> tuple[Counter[int], Counter[int]]:
    events, refused = Counter[int](), Counter[int]()
    for entry in entries(read_lines()):
        if isinstance(entry, Happened):
            events[entry.at_ms // HOUR_MS] += 1
        elif isinstance(entry, Broken):
            refused[entry.at_ms // HOUR_MS] += 1
    return events, refused


def test_a_real_shops_year_with_its_nights_and_holidays_pages_nobody() -> None:
    events, refused = retail_hours()
    last = max(events)
    for each, answers in ((1, 2), (3, 1)):
        watch, alerts, said = TrafficWatch(), Alerts("recommend"), list[Alert]()
        for hour in range(min(events), last + 1):
            n = events[hour]
            seen = HourSeen(hour, n * each, n * answers, refused[hour])
            record = TrafficSeen(
                traffic_id=str(hour),
                event_time_ms=(hour + 1) * HOUR_MS,
                task="recommend",
                partition=0,
                until_hour=hour + 1,
                hours=[seen],
            )
            said += alerts.step(watch.seen(record))
        assert [alert for alert in said if alert.severity == "page"] == []
        assert len([alert for alert in said if alert.state == "raised"]) <= 2
