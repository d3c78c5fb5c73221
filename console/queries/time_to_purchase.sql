-- How long after an answer its items are bought
WITH
    labels AS (
-- include labels
    ),
    waits AS (
        SELECT surface, (at_ms - served_at_ms) / 60000 AS minutes
        FROM labels
        ARRAY JOIN slots.kind AS kind, slots.state AS state, slots.at_ms AS at_ms
        WHERE kind = 'purchase' AND state IN ('positive', 'corrected')
    ),
    steps AS (SELECT [1, 5, 15, 60, 360, 1440, 1e9] AS ends)
SELECT
    surface,
    multiIf(within = 1e9, 'longer', within < 60, concat(toString(toInt32(within)), ' min'),
        concat(toString(toInt32(within / 60)), ' h')) AS within_time,
    sum(minutes <= within) AS purchases,
    round(purchases / count(), 4) AS share
FROM waits
CROSS JOIN (SELECT arrayJoin(ends) AS within FROM steps) AS step
GROUP BY surface, within
ORDER BY surface, within
