-- The loop against each rival on the same requests, with 95 % intervals by customer
-- The interval is the normal one, its variance that of the customers' sums.
WITH
    judged AS (
-- include judged
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
