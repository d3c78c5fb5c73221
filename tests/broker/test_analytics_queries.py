"""The analysts' saved queries give the answers that a small shop's records imply."""

from __future__ import annotations

from msgspec.structs import replace
from record_samples import purchase
from tables_factory import DAY_MS, MINUTE_MS, START_MS, Tables, answer, bought, judged, label

from schemas import topics
from schemas.events import CartAdded, EventItem, ItemListViewed, RefundMade, Searched
from schemas.items import Item

HOUR_MS = 60 * MINUTE_MS


def test_rates_take_each_answers_newest_final_statement(tables: Tables) -> None:
    tables.put(
        topics.OUTCOMES,
        judged("r1", [label("1", 1, "purchase"), label("2", 2)], age="5m"),
        judged("r1", [label("1", 1), label("2", 2, "select_item")], version=3),
        judged("r2", [label("1", 1), label("2", 2)], version=3),
        judged("r2", [label("1", 1, "purchase"), label("2", 2)], version=4, age="correction"),
        judged("r3", [label("1", 1, "purchase", state="retracted"), label("2", 2)]),
        judged("r4", [label("1", 1, "add_to_cart"), label("2", 2)], arm="explore"),
        judged("r5", [label("1", 1, "purchase")], arm="shadow", policy="own_items"),
    )
    rows = {row["arm"]: row for row in tables.ask("rates")}
    assert rows.keys() == {"champion", "explore"}
    champion = rows["champion"]
    assert champion["answers"] == 3
    rates = [champion[f"{name}_rate"] for name in ("interaction", "cart", "purchase")]
    assert rates == [0.6667, 0.3333, 0.3333]
    # Wilson's bounds of 1 in 3.
    assert (champion["purchase_low"], champion["purchase_high"]) == (0.0615, 0.7923)
    (day,) = {row["period"] for row in tables.ask("rates", per="day")}
    assert day == "2011-03-01"
    assert {row["period"] for row in tables.ask("rates", per="week")} == {"2011-02-28"}
    assert tables.ask("rates", from_ms=START_MS + 1) == []


def test_completeness_is_the_share_of_what_is_positive_in_the_end(tables: Tables) -> None:
    late = [label("1", 1, "purchase"), label("2", 2, "purchase")]
    tables.put(
        topics.OUTCOMES,
        judged("r1", [late[0], label("2", 2, state="pending")], age="5m", version=1),
        judged("r1", late, age="final", version=3),
        judged("r2", late, age="5m", version=1),  # not final yet: left out
    )
    rows = [
        (row["age"], row["answers"], row["complete"]) for row in tables.ask("label_completeness")
    ]
    assert rows == [("5m", 1, 0.5), ("final", 1, 1.0)]


def test_purchases_are_accounted_for_by_how_they_were_credited(tables: Tables) -> None:
    named = EventItem(item_id="1", price=2.0, prediction_id="r1/loop")
    found, free = EventItem(item_id="2", price=3.0), EventItem(item_id="3", price=5.0)
    tables.put(topics.EVENTS_VALID, purchase(event_time_ms=START_MS, items=[named, found, free]))
    tables.put(
        topics.OUTCOMES,
        judged(
            "r1",
            [
                label("1", 1, "purchase", revenue=2.0),
                label("2", 2, "purchase", revenue=3.0, attributed="window"),
            ],
        ),
    )
    (row,) = tables.ask("attribution")
    assert (row["lines_sold"], row["lines_with_token"]) == (3, 1)
    assert (row["slots_by_token"], row["slots_by_window"]) == (1, 1)
    assert (row["revenue_by_token"], row["revenue_by_window"], row["revenue_share"]) == (2, 3, 0.5)
    waits = {row["within_time"]: row["share"] for row in tables.ask("time_to_purchase")}
    assert (waits["1 min"], waits["5 min"], waits["longer"]) == (0.0, 1.0, 1.0)


def test_position_bias_tells_seen_from_shown(tables: Tables) -> None:
    answers = [answer(f"r{n}", "a", START_MS, ["1", "2"]) for n in range(4)]
    tables.put(topics.PREDICTIONS, *answers, answers[0])
    tables.put(
        topics.EVENTS_VALID,
        *(
            ItemListViewed(
                event_id=f"l{n}",
                event_time_ms=START_MS,
                visitor_id="a",
                prediction_id=f"r{n}/loop",
                items=[EventItem(item_id="1")],
            )
            for n in range(2)
        ),
    )
    touched = [label("1", 1, "select_item"), label("2", 2)]
    untouched = [label("1", 1), label("2", 2)]
    tables.put(
        topics.OUTCOMES,
        judged("r0", touched),
        *(judged(f"r{n}", untouched) for n in range(1, 4)),
    )
    first, second = tables.ask("position_bias")
    assert (first["shown"], first["seen"], first["touched"]) == (4, 2, 1)
    assert (first["touched_share"], first["touched_when_seen"]) == (0.25, 0.5)
    assert (second["shown"], second["seen"], second["touched_when_seen"]) == (4, 0, None)
    (arms,) = tables.ask("arms_daily")
    assert (arms["answers"], arms["visitors"], arms["share"]) == (4, 1, 1.0)


def test_exposure_novelty_and_cold_items_look_at_what_was_shown(tables: Tables) -> None:
    tables.put(
        topics.EVENTS_VALID,
        *(bought(f"v{n}", None, START_MS - 30 * DAY_MS + n, "1") for n in range(3)),
        bought("a", None, START_MS - 2 * DAY_MS, "2"),
    )
    tables.put(topics.ITEMS, Item(item_id="9", updated_at_ms=START_MS, title="Unsold"))
    tables.put(topics.PREDICTIONS, answer("r1", "a", START_MS, ["1", "2", "8"]))
    tables.put(
        topics.OUTCOMES, judged("r1", [label("1", 1), label("2", 2, "purchase"), label("8", 3)])
    )
    deciles = {row["decile"]: row for row in tables.ask("exposure")}
    assert (deciles[0]["items"], deciles[0]["items_shown"]) == (2, 1)
    assert (deciles[1]["share_of_slots"], deciles[1]["share_of_sales"]) == (0.3333, 0.75)
    (novel,) = tables.ask("novelty")
    # Four orders: item 1 in three of them, 2 in one, 8 in none; one more is counted of each.
    assert novel["rarity_bits"] == round((0.3219 + 1.3219 + 2.3219) / 3, 3)
    assert (novel["distinct_items"], novel["new_to_visitor"]) == (3, 0.6667)
    bands = {row["known_for"]: (row["shown"], row["bought"]) for row in tables.ask("cold_items")}
    assert bands == {"not sold before": (1, 0), "under 7 days": (1, 1), "longer": (1, 0)}


def test_winners_and_losers_of_a_version_are_told_apart(tables: Tables) -> None:
    for number in range(40):
        version = "m1" if number < 20 else "m2"
        up, down = ("purchase", None) if version == "m2" else (None, "purchase")
        slots = [label("up", 1, up), label("down", 2, down), label("same", 3)]
        at = START_MS + number
        tables.put(
            topics.OUTCOMES, judged(f"r{number}", slots, served_at_ms=at, model_version=version)
        )
    rows = tables.ask("version_winners")
    assert [(row["item_id"], row["difference"]) for row in rows] == [
        ("up", 1.0),
        ("same", 0.0),
        ("down", -1.0),
    ]
    assert (rows[0]["version"], rows[0]["than"]) == ("m2", "m1")
    swapped = tables.ask("version_winners", version="m1", than="m2", top=1)
    assert [row["item_id"] for row in swapped] == ["down", "up"]


def test_revenue_leaves_out_what_came_back(tables: Tables) -> None:
    tables.put(
        topics.OUTCOMES,
        judged("r1", [label("1", 1, "purchase", revenue=6.0)]),
        judged("r2", [label("1", 1, "purchase", revenue=9.0, state="retracted")]),
        judged("r3", [label("1", 1)]),
    )
    (row,) = tables.ask("revenue")
    assert (row["answers"], row["revenue"], row["per_1000"]) == (3, 6.0, 2000.0)
    assert row["low"] < 2000.0 < row["high"]
    tables.put(
        topics.EVENTS_VALID,
        purchase(event_time_ms=START_MS, items=[EventItem(item_id="1", quantity=3, price=5.0)]),
        RefundMade(
            event_id="back",
            event_time_ms=START_MS,
            visitor_id="v1",
            transaction_id="t1",
            items=[EventItem(item_id="1", price=5.0)],
        ),
    )
    (week,) = tables.ask("refunds")
    assert (week["sold"], week["back"], week["share_back"]) == (15.0, 5.0, 0.3333)
    assert week["slots_retracted"] == 1


def test_cohorts_are_followed_from_the_first_order_and_the_first_visit(tables: Tables) -> None:
    tables.put(
        topics.EVENTS_VALID,
        bought("a", "s1", START_MS, "1"),
        bought("b", "s2", START_MS, "1"),
        bought("a", "s3", START_MS + 8 * DAY_MS, "1"),
        bought("a", "s4", START_MS + 40 * DAY_MS, "1"),
    )
    months = tables.ask("repeat_purchases")
    assert [(row["months_later"], row["customers"], row["ordered"]) for row in months] == [
        (0, 2, 2),
        (1, 2, 1),
    ]
    weeks = tables.ask("visitor_retention", weeks=4)
    assert [(row["weeks_later"], row["came"], row["share"]) for row in weeks] == [
        (0, 2, 1.0),
        (1, 1, 0.5),
    ]


def test_sessions_convert_and_searches_bear_fruit_or_not(tables: Tables) -> None:
    cart = CartAdded(
        event_id="c1",
        event_time_ms=START_MS,
        visitor_id="a",
        session_id="s1",
        items=[EventItem(item_id="1")],
    )
    searches = [
        Searched(event_id=f"q{n}", event_time_ms=START_MS + n, visitor_id=visitor, query=text)
        for n, (visitor, text) in enumerate([("a", "Mug "), ("b", "mug"), ("b", "mug")])
    ]
    tables.put(topics.EVENTS_VALID, cart, bought("a", "s1", START_MS + HOUR_MS, "1"), *searches)
    tables.put(topics.EVENTS_VALID, replace(cart, event_id="c2", session_id="s2"))
    tables.put(topics.PREDICTIONS, answer("r1", "a", START_MS, ["1"], session_id="s1"))
    (day,) = tables.ask("sessions_daily")
    assert (day["sessions"], day["with_answer"], day["with_cart"]) == (2, 1, 2)
    assert (day["conversion"], day["conversion_with_answer"]) == (0.5, 1.0)
    (text,) = tables.ask("searches_without_purchase", at_least=2)
    assert (text["text"], text["searches"], text["followed_by_purchase"]) == ("mug", 3, 1)
    assert tables.ask("searches_without_purchase") == []  # two visitors may be known by their words


def test_scores_sources_and_what_was_missed(tables: Tables) -> None:
    shown = answer("r1", "a", START_MS, ["1", "2"])
    first, second = shown.slots
    slots = [replace(first, score=0.0, source="own+sequence"), replace(second, source="own")]
    tables.put(topics.PREDICTIONS, replace(shown, slots=slots))
    bought_too = {"basket": ["1", "7"], "new_basket": ["7"]}
    tables.put(
        topics.OUTCOMES, judged("r1", [label("1", 1, "purchase"), label("2", 2)], **bought_too)
    )
    lowest, highest = tables.ask("calibration")
    assert (lowest["predicted"], lowest["observed"], lowest["ratio"]) == (0.5, 1.0, 2.0)
    assert (highest["predicted"], highest["observed"]) == (0.7311, 0.0)
    sources = {row["source"]: (row["shown"], row["bought"]) for row in tables.ask("sources")}
    assert sources == {"own": (2, 1), "sequence": (1, 1)}
    missed = tables.ask("missed_items", surface="home")
    assert [(row["item_id"], row["times_missed"]) for row in missed] == [("7", 1), ("1", 0)]


def test_pairs_bought_together_carry_their_lift(tables: Tables) -> None:
    baskets = [("1", "2"), ("1", "2"), ("3",), ("1", "2", "2")]
    for number, basket in enumerate(baskets):
        order = bought(f"v{number}", None, START_MS, *basket)
        tables.put(topics.EVENTS_VALID, replace(order, transaction_id=f"t{number}"))
    (pair,) = tables.ask("bought_together", at_least=2)
    assert (pair["item_id"], pair["with_item_id"], pair["orders_with_both"]) == ("1", "2", 3)
    assert pair["lift"] == round(3 * 4 / 9, 2)
