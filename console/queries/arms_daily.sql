-- How traffic is split over the arms, by day: answers and visitors
-- A split that is not the one intended makes every comparison between arms worthless.
WITH
    served AS (
-- include served
    )
SELECT
    toDate(served) AS day,
    surface,
    arm,
    count() AS answers,
    uniqExact(visitor_id) AS visitors,
    round(answers / sum(answers) OVER (PARTITION BY day, surface), 4) AS share
FROM served
GROUP BY day, surface, arm
ORDER BY day, surface, arm
