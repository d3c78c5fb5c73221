-- How soon each serving process had a new version live, in milliseconds after the announcement
SELECT
    process,
    countIf(kind = 'swapped') AS swaps,
    countIf(kind = 'refused') AS refused,
    round(quantileExactIf(0.5)(announce_to_swap_ms, announce_to_swap_ms IS NOT NULL), 1) AS p50_ms,
    round(quantileExactIf(0.95)(announce_to_swap_ms, announce_to_swap_ms IS NOT NULL), 1) AS p95_ms,
    round(max(announce_to_swap_ms), 1) AS slowest_ms,
    argMax(model_version, event_time_ms) AS newest_version
FROM model_log
WHERE kind IN ('swapped', 'refused')
GROUP BY process
ORDER BY process
