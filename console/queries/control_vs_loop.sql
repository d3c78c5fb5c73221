-- The loop against each rival on the same requests, with 95 % intervals by customer
-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- param window_ms Int64 = 86400000: purchases count for this long after the answer
-- From the base tables predictions and events alone. A request's basket is what its session bought
-- (without a session: its visitor) after the answer and within the window; on discover only items
-- count that the visitor had not bought before the answer. Requests with nothing to find are left
-- out. hit: one of them is among the first 10 listed; recall: the share of them that is.
-- The interval is the normal one, its variance that of the customers' sums.
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
    ),
    judged AS (
        SELECT
            request_id,
            surface,
            policy,
            visitor,
            served_ms,
            arrayDistinct(arrayMap(each -> each.1, arrayFilter(
                each -> each.2 > served_ms
                    AND each.2 <= served_ms + {window_ms:Int64}
                    AND (surface != 'discover' OR each.3 > served_ms),
                bought))) AS wanted,
            length(arrayIntersect(wanted, listed)) AS found,
            found > 0 AS hit,
            found / length(wanted) AS recall
        FROM answers
        INNER JOIN baskets USING (key)
        WHERE notEmpty(wanted)
    ),
    by_request AS (
        SELECT
            surface,
            visitor,
            groupArray((policy, toInt64(hit), recall)) AS policies,
            arrayFirst(each -> each.1 = 'loop', policies) AS loop
        FROM judged
        GROUP BY surface, request_id, visitor
        HAVING loop.1 = 'loop'
    ),
    by_visitor AS (
        SELECT
            surface,
            rival.1 AS rival_policy,
            visitor,
            count() AS requests,
            countIf(loop.2 > rival.2) AS loop_alone,
            countIf(loop.2 < rival.2) AS rival_alone,
            sum(loop.2 - rival.2) AS hits,
            sum(loop.3 - rival.3) AS recalls
        FROM by_request
        ARRAY JOIN arrayFilter(each -> each.1 != 'loop', policies) AS rival
        GROUP BY surface, rival_policy, visitor
    ),
    totals AS (
        SELECT
            surface,
            rival_policy AS rival,
            sum(requests) AS n,
            sum(loop_alone) AS hit_by_loop_alone,
            sum(rival_alone) AS hit_by_rival_alone,
            sum(hits) / n AS hit_mean,
            sum(recalls) / n AS recall_mean,
            sqrt(sum(hits * hits) - 2 * hit_mean * sum(hits * requests)
                + hit_mean * hit_mean * sum(requests * requests)) / n AS hit_error,
            sqrt(sum(recalls * recalls) - 2 * recall_mean * sum(recalls * requests)
                + recall_mean * recall_mean * sum(requests * requests)) / n AS recall_error
        FROM by_visitor
        GROUP BY surface, rival
    )
SELECT
    surface,
    rival,
    n,
    hit_by_loop_alone,
    hit_by_rival_alone,
    round(hit_mean, 4) AS hr10_difference,
    round(hit_mean - 1.96 * hit_error, 4) AS hr10_low,
    round(hit_mean + 1.96 * hit_error, 4) AS hr10_high,
    round(recall_mean, 4) AS recall10_difference,
    round(recall_mean - 1.96 * recall_error, 4) AS recall10_low,
    round(recall_mean + 1.96 * recall_error, 4) AS recall10_high
FROM totals
ORDER BY surface, rival
