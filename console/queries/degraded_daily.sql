-- Answers that were less than whole, by day, surface and reason
WITH
    served AS (
-- include served
    ),
    totals AS (
        SELECT toDate(served) AS day, surface, count() AS answers
        FROM served
        GROUP BY day, surface
    )
SELECT
    toDate(served.served) AS day,
    served.surface AS surface,
    assumeNotNull(degraded) AS reason,
    count() AS degraded_answers,
    any(totals.answers) AS answers,
    round(degraded_answers / answers, 4) AS share
FROM served
INNER JOIN totals ON totals.day = toDate(served.served) AND totals.surface = served.surface
WHERE degraded IS NOT NULL
GROUP BY day, surface, reason
ORDER BY day, surface, reason
