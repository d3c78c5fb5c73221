-- Which categories are shown, and which sell: shares of slots and of order lines by category
-- param surface String = 'home': the surface
-- param policy String = 'loop': whose lists: loop, control or a baseline
-- param depth Int64 = 1: levels of the category path, 1 takes Home/Kitchen and Home/Light together
-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- By the newest record of each item, deleted ones too; without a record or category it is ''.
WITH
    named AS (
        SELECT
            item_id,
            arrayStringConcat(
                arraySlice(splitByChar('/', argMax(category, updated_at_ms)), 1, {depth:Int64}),
                '/') AS path
        FROM items
        GROUP BY item_id
    ),
    lines AS (
-- include purchases
    ),
-- include sold_and_listed
    everything AS (
        SELECT item_id, shown, 0 AS lines_sold FROM listed
        UNION ALL
        SELECT item_id, 0, lines_sold FROM sold
        UNION ALL
        SELECT item_id, 0, 0 FROM named
    ),
    by_item AS (
        SELECT item_id, sum(shown) AS shown, sum(lines_sold) AS lines_sold
        FROM everything
        GROUP BY item_id
    )
SELECT
    named.path AS category,
    count() AS items,
    countIf(by_item.shown > 0) AS items_shown,
    sum(by_item.shown) AS slots_shown,
    round(slots_shown / nullIf(sum(slots_shown) OVER (), 0), 4) AS share_of_slots,
    sum(by_item.lines_sold) AS order_lines,
    round(order_lines / nullIf(sum(order_lines) OVER (), 0), 4) AS share_of_sales
FROM by_item
LEFT JOIN named ON named.item_id = by_item.item_id
GROUP BY category
ORDER BY slots_shown DESC, category
