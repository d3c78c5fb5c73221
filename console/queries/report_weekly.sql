-- Hit rate and recall at 10 by week of event time, surface and policy
WITH
    judged AS (
-- include judged
    )
SELECT
    toStartOfWeek(fromUnixTimestamp64Milli(served_ms, 'UTC'), 1) AS week,
    surface,
    policy,
    round(avg(hit), 4) AS hr10,
    round(avg(recall), 4) AS recall10,
    count() AS n
FROM judged
GROUP BY week, surface, policy
ORDER BY week, surface, policy
