-- Events by name and day of event time
-- Answered from counts that ClickHouse keeps with the rows, so that it stays quick at any size.
SELECT
    toDate(event_time) AS day,
    event_name,
    count() AS events
FROM events
GROUP BY day, event_name
ORDER BY day, event_name
