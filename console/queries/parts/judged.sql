-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- param window_ms Int64 = 86400000: purchases count for this long after the answer
-- From the base tables predictions and events alone. A request's basket is what its session bought
-- (without a session: its visitor) after the answer and within the window; on discover only items
-- count that the visitor had not bought before the answer, on buy_again only the others. Requests
-- with nothing to find are left out. hit: one of them is among the first 10 listed; recall: the
-- share of them that is.
WITH
    lines AS (
        SELECT
            visitor_id,
            session_id,
            item_id,
            event_time_ms AS at_ms,
            min(event_time_ms) OVER (PARTITION BY visitor_id, item_id) AS first_ms
        FROM events
        ARRAY JOIN items.item_id AS item_id
        WHERE event_name = 'purchase'
    ),
    baskets AS (
        SELECT concat('session ', assumeNotNull(session_id)) AS key,
            groupArray((item_id, at_ms, first_ms)) AS bought
        FROM lines
        WHERE session_id IS NOT NULL
        GROUP BY key
        UNION ALL
        SELECT concat('visitor ', visitor_id) AS key,
            groupArray((item_id, at_ms, first_ms)) AS bought
        FROM lines
        WHERE visitor_id IN (SELECT visitor_id FROM predictions WHERE session_id IS NULL)
        GROUP BY key
    ),
    answers AS (
        SELECT
            request_id,
            surface,
            policy,
            any(predictions.visitor_id) AS visitor,
            any(served_at_ms) AS served_ms,
            any(if(session_id IS NULL, concat('visitor ', predictions.visitor_id),
                concat('session ', assumeNotNull(session_id)))) AS key,
            arrayDistinct(arraySlice(any(slots.item_id), 1, 10)) AS listed
        FROM predictions
        WHERE served_at_ms >= {from_ms:Int64} AND served_at_ms < {to_ms:Int64}
        GROUP BY request_id, surface, policy
    )
SELECT
    request_id,
    surface,
    policy,
    visitor,
    served_ms,
    arrayDistinct(arrayMap(each -> each.1, arrayFilter(
        each -> each.2 > served_ms
            AND each.2 <= served_ms + {window_ms:Int64}
            AND (surface != 'discover' OR each.3 > served_ms)
            AND (surface != 'buy_again' OR each.3 <= served_ms),
        bought))) AS wanted,
    length(arrayIntersect(wanted, listed)) AS found,
    found > 0 AS hit,
    found / length(wanted) AS recall
FROM answers
INNER JOIN baskets USING (key)
WHERE notEmpty(wanted)
