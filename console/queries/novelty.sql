-- How surprising the lists are: rarity of what is shown, and the share new to its visitor
-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- rarity_bits: mean of -log2 of the share of orders that hold the item (one order more, so that an
-- unsold item counts too). new_to_visitor: not bought by this visitor before the answer.
WITH
    lines AS (
-- include purchases
    ),
    orders AS (SELECT uniqExact(transaction_id, visitor_id) AS total FROM lines),
    rarity AS (
        SELECT item_id, uniqExact(transaction_id, visitor_id) AS with_item
        FROM lines
        GROUP BY item_id
    ),
    owned AS (
        SELECT visitor_id, item_id, min(event_time_ms) AS first_ms
        FROM lines
        GROUP BY visitor_id, item_id
    ),
    shown AS (
        SELECT surface, policy, visitor_id, served_at_ms, prediction_id, item_id
        FROM (
            SELECT surface, policy, visitor_id, served_at_ms, prediction_id,
                slots.item_id AS listed_ids
            FROM predictions
            WHERE served_at_ms >= {from_ms:Int64} AND served_at_ms < {to_ms:Int64}
            LIMIT 1 BY prediction_id
        )
        ARRAY JOIN listed_ids AS item_id
    )
SELECT
    shown.surface AS surface,
    shown.policy AS policy,
    uniqExact(prediction_id) AS answers,
    uniqExact(shown.item_id) AS distinct_items,
    round(avg(-log2((rarity.with_item + 1) / ((SELECT total FROM orders) + 1))), 3) AS rarity_bits,
    round(avg(owned.first_ms = 0 OR owned.first_ms >= served_at_ms), 4) AS new_to_visitor
FROM shown
LEFT JOIN rarity ON rarity.item_id = shown.item_id
LEFT JOIN owned ON owned.visitor_id = shown.visitor_id AND owned.item_id = shown.item_id
GROUP BY surface, policy
ORDER BY surface, policy
