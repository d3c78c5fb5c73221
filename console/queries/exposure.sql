-- Which part of the catalogue is shown: exposure by popularity, decile 1 sells best
-- param surface String = 'home': the surface
-- param policy String = 'loop': whose lists: loop, control or a baseline
-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- Popularity is the number of order lines in the same span; decile 0 holds what did not sell in it.
WITH
    lines AS (
-- include purchases
    ),
-- include sold_and_listed
    ranked AS (
        SELECT item_id, lines_sold, ntile(10) OVER (ORDER BY lines_sold DESC, item_id) AS decile
        FROM sold
    ),
    everything AS (
        SELECT item_id FROM sold
        UNION DISTINCT
        SELECT item_id FROM listed
        UNION DISTINCT
        SELECT item_id FROM items
    )
SELECT
    ranked.decile AS decile,
    count() AS items,
    countIf(listed.shown > 0) AS items_shown,
    round(items_shown / items, 4) AS coverage,
    sum(listed.shown) AS slots_shown,
    round(slots_shown / nullIf(sum(slots_shown) OVER (), 0), 4) AS share_of_slots,
    sum(ranked.lines_sold) AS lines_sold,
    round(lines_sold / nullIf(sum(lines_sold) OVER (), 0), 4) AS share_of_sales
FROM everything
LEFT JOIN ranked ON ranked.item_id = everything.item_id
LEFT JOIN listed ON listed.item_id = everything.item_id
GROUP BY decile
ORDER BY decile
