-- What comes back, and how much of it had been credited to an answer, by week of event time
WITH
    lines AS (
        SELECT
            toStartOfWeek(fromUnixTimestamp64Milli(event_time_ms, 'UTC'), 1) AS week,
            event_name,
            quantity * coalesce(price, 0) AS amount
        FROM events
        ARRAY JOIN items.quantity AS quantity, items.price AS price
        WHERE event_name IN ('purchase', 'refund')
    ),
    moved AS (
        SELECT
            week,
            countIf(event_name = 'purchase') AS lines_sold,
            countIf(event_name = 'refund') AS lines_back,
            sumIf(amount, event_name = 'purchase') AS sold,
            sumIf(amount, event_name = 'refund') AS back
        FROM lines
        GROUP BY week
    ),
    labels AS (
-- include labels
    ),
    taken AS (
        SELECT
            toStartOfWeek(fromUnixTimestamp64Milli(served_at_ms, 'UTC'), 1) AS week,
            count() AS slots_retracted
        FROM labels
        ARRAY JOIN slots.state AS state
        WHERE state = 'retracted'
        GROUP BY week
    )
SELECT
    moved.week AS week,
    lines_sold,
    lines_back,
    round(sold, 2) AS sold,
    round(back, 2) AS back,
    round(moved.back / nullIf(moved.sold, 0), 4) AS share_back,
    taken.slots_retracted AS slots_retracted
FROM moved
LEFT JOIN taken ON taken.week = moved.week
ORDER BY week
