-- Drift alarms with their evidence, and whether they were acted on
SELECT
    event_time,
    surface,
    kind,
    detector,
    status,
    action,
    reason,
    model_version,
    round(baseline, 4) AS baseline,
    round(current, 4) AS current,
    round(effect, 4) AS effect,
    n,
    round(minimum_detectable, 4) AS minimum_detectable,
    round(statistic, 3) AS statistic,
    round(threshold, 3) AS threshold
FROM drift
ORDER BY event_time_ms, _offset
