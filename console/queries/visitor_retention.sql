-- Who comes back: visitors by the week they were first seen, and how many were seen each week after
-- param weeks Int64 = 12: how far to follow them
WITH
    visits AS (
        SELECT
            visitor_id,
            session_id,
            toStartOfWeek(fromUnixTimestamp64Milli(event_time_ms, 'UTC'), 1) AS week,
            min(week) OVER (PARTITION BY visitor_id) AS cohort
        FROM events
    ),
    sizes AS (SELECT cohort, uniqExact(visitor_id) AS visitors FROM visits GROUP BY cohort)
SELECT
    visits.cohort AS first_week,
    dateDiff('week', visits.cohort, visits.week) AS weeks_later,
    any(sizes.visitors) AS visitors,
    uniqExact(visitor_id) AS came,
    uniqExact(session_id) AS sessions,
    round(came / any(sizes.visitors), 4) AS share
FROM visits
INNER JOIN sizes ON sizes.cohort = visits.cohort
GROUP BY first_week, weeks_later
HAVING weeks_later <= {weeks:Int64}
ORDER BY first_week, weeks_later
