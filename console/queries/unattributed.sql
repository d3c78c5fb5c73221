-- Bought items that no answer was credited with, by week of event time
SELECT
    toStartOfWeek(fromUnixTimestamp64Milli(event_time_ms, 'UTC'), 1) AS week,
    count() AS items_bought,
    countIf(coalesce(line_prediction, prediction_id) IS NULL) AS unattributed,
    round(unattributed / items_bought, 4) AS share
FROM events
ARRAY JOIN items.prediction_id AS line_prediction
WHERE event_name = 'purchase'
GROUP BY week
ORDER BY week
