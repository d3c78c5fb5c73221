-- What the shop sold, by how it was credited to an answer, by week of event time
-- token: the order named the answer. window: the newest answer that listed the item got it.
-- A line that several answers may claim (two surfaces) counts for each of them.
WITH
    lines AS (
-- include purchases
    ),
    sold AS (
        SELECT
            toStartOfWeek(fromUnixTimestamp64Milli(event_time_ms, 'UTC'), 1) AS week,
            count() AS lines_sold,
            countIf(credited IS NOT NULL) AS lines_with_token,
            sum(revenue) AS revenue
        FROM lines
        GROUP BY week
    ),
    labels AS (
-- include labels
    ),
    credit AS (
        SELECT
            toStartOfWeek(fromUnixTimestamp64Milli(assumeNotNull(at_ms), 'UTC'), 1) AS week,
            countIf(how = 'token') AS slots_by_token,
            countIf(how = 'window') AS slots_by_window,
            sumIf(slot_revenue, how = 'token') AS revenue_by_token,
            sumIf(slot_revenue, how = 'window') AS revenue_by_window
        FROM labels
        ARRAY JOIN
            slots.kind AS kind,
            slots.state AS state,
            slots.at_ms AS at_ms,
            slots.attributed AS how,
            slots.revenue AS slot_revenue
        WHERE kind = 'purchase' AND state IN ('positive', 'corrected') AND at_ms IS NOT NULL
        GROUP BY week
    )
SELECT
    sold.week AS week,
    lines_sold,
    lines_with_token,
    slots_by_token,
    slots_by_window,
    round(revenue, 2) AS revenue,
    round(revenue_by_token, 2) AS revenue_by_token,
    round(revenue_by_window, 2) AS revenue_by_window,
    round((revenue_by_token + revenue_by_window) / nullIf(sold.revenue, 0), 4) AS revenue_share
FROM sold
LEFT JOIN credit ON credit.week = sold.week
ORDER BY week
