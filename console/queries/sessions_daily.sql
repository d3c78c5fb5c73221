-- Sessions by day: how many saw an answer, put something in the cart, bought
-- Events without a session are left out. An answer belongs to the session it was asked in.
WITH
    acted AS (
        SELECT
            assumeNotNull(session_id) AS session,
            min(event_time_ms) AS began_ms,
            any(visitor_id) AS visitor,
            countIf(event_name = 'add_to_cart') > 0 AS carted,
            countIf(event_name = 'purchase') > 0 AS bought
        FROM events
        WHERE session_id IS NOT NULL
        GROUP BY session
    ),
    served AS (
-- include served
    ),
    answered AS (
        SELECT assumeNotNull(session_id) AS session
        FROM served
        WHERE session_id IS NOT NULL
        GROUP BY session
    )
SELECT
    toDate(fromUnixTimestamp64Milli(began_ms, 'UTC')) AS day,
    count() AS sessions,
    uniqExact(visitor) AS visitors,
    countIf(answered.session != '') AS with_answer,
    countIf(carted) AS with_cart,
    countIf(bought) AS with_purchase,
    round(with_purchase / sessions, 4) AS conversion,
    round(countIf(bought AND answered.session != '') / nullIf(with_answer, 0), 4)
        AS conversion_with_answer
FROM acted
LEFT JOIN answered ON answered.session = acted.session
GROUP BY day
ORDER BY day
