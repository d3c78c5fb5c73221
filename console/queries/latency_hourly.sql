-- How long answers took by hour of event time and version: exact percentiles in milliseconds
WITH
    served AS (
-- include served
    )
SELECT
    toStartOfHour(served) AS hour,
    model_version,
    count() AS answers,
    round(quantileExact(0.5)(latency_ms), 2) AS p50_ms,
    round(quantileExact(0.95)(latency_ms), 2) AS p95_ms,
    round(quantileExact(0.99)(latency_ms), 2) AS p99_ms,
    round(max(latency_ms), 2) AS slowest_ms
FROM served
GROUP BY hour, model_version
ORDER BY hour, model_version
