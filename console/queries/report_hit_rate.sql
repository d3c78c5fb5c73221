-- Hit rate and recall at 10 by surface and policy
WITH
    judged AS (
-- include judged
    )
SELECT
    surface,
    policy,
    round(avg(hit), 4) AS hr10,
    round(avg(recall), 4) AS recall10,
    count() AS n
FROM judged
GROUP BY surface, policy
ORDER BY surface, hr10 DESC
