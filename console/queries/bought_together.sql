-- Items that go into the same order, by how often and how much more often than by chance (lift)
-- param at_least Int64 = 30: orders with both
-- param top Int64 = 50: pairs listed
-- Orders of more than 100 items are left out: everything goes with everything there.
WITH
    lines AS (
-- include purchases
    ),
    orders AS (
        SELECT arraySort(groupUniqArray(item_id)) AS ids
        FROM lines
        GROUP BY visitor_id, transaction_id
        HAVING length(ids) <= 100
    ),
    singles AS (SELECT item_id, count() AS orders FROM orders ARRAY JOIN ids AS item_id GROUP BY item_id),
    pairs AS (
        SELECT a, b, count() AS both
        FROM (
            SELECT a, arraySlice(ids, place + 1) AS later
            FROM orders
            ARRAY JOIN ids AS a, arrayEnumerate(ids) AS place
        )
        ARRAY JOIN later AS b
        GROUP BY a, b
        HAVING both >= {at_least:Int64}
    )
SELECT
    a AS item_id,
    b AS with_item_id,
    both AS orders_with_both,
    first.orders AS orders_with_item,
    second.orders AS orders_with_other,
    round(both * (SELECT count() FROM orders) / (first.orders * second.orders), 2) AS lift
FROM pairs
INNER JOIN singles AS first ON first.item_id = pairs.a
INNER JOIN singles AS second ON second.item_id = pairs.b
ORDER BY lift DESC, both DESC, a, b
LIMIT {top:Int64}
