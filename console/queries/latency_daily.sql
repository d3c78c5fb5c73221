-- How long answers took by day and surface: exact percentiles in milliseconds, share over budget
-- param budget_ms Float64 = 1000: an answer slower than this is over budget
WITH
    served AS (
-- include served
    )
SELECT
    toDate(served) AS day,
    surface,
    count() AS answers,
    round(quantileExact(0.5)(latency_ms), 2) AS p50_ms,
    round(quantileExact(0.95)(latency_ms), 2) AS p95_ms,
    round(quantileExact(0.99)(latency_ms), 2) AS p99_ms,
    round(max(latency_ms), 2) AS slowest_ms,
    countIf(latency_ms > {budget_ms:Float64}) AS over_budget,
    round(over_budget / answers, 4) AS over_share
FROM served
GROUP BY day, surface
ORDER BY day, surface
