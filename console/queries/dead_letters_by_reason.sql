-- Refused records and records that did not decode, by topic and reason
SELECT
    'refused' AS what,
    topic,
    reason,
    count() AS records,
    any(substring(message, 1, 100)) AS for_example
FROM dead_letters
GROUP BY topic, reason
UNION ALL
SELECT
    'quarantined' AS what,
    _topic AS topic,
    reason,
    count() AS records,
    any(substring(message, 1, 100)) AS for_example
FROM quarantine
GROUP BY topic, reason
ORDER BY what DESC, records DESC
