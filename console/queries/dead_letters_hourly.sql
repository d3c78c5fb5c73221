-- Refused records by hour of the wall clock, topic and reason, and how many were sent again
SELECT
    toStartOfHour(recorded_at) AS hour,
    letters.topic AS topic,
    letters.reason AS reason,
    count() AS records,
    countIf(again.letter != '') AS sent_again,
    any(substring(message, 1, 100)) AS for_example
FROM (
    SELECT *, recorded_at, concat(_topic, '[', toString(_partition), ']@', toString(_offset)) AS place
    FROM dead_letters
) AS letters
LEFT JOIN (SELECT DISTINCT letter FROM resent) AS again ON again.letter = letters.place
GROUP BY hour, topic, reason
ORDER BY hour, topic, reason
