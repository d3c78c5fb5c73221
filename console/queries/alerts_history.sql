-- Every alert: when it was raised and cleared, what explained it, and its figures
SELECT
    toDateTime64(raised_at_ms / 1000, 3, 'UTC') AS raised_at,
    if(last_state = 'cleared', toDateTime64(last_ms / 1000, 3, 'UTC'), NULL) AS cleared_at,
    name,
    scope,
    severity,
    arrayStringConcat(inhibited, ', ') AS inhibited_by,
    summary,
    figures AS evidence
FROM
(
    SELECT
        alert_id,
        any(raised_at_ms) AS raised_at_ms,
        any(name) AS name,
        any(scope) AS scope,
        any(severity) AS severity,
        any(summary) AS summary,
        any(evidence) AS figures,
        argMax(state, _offset) AS last_state,
        max(event_time_ms) AS last_ms,
        argMax(inhibited_by, _offset) AS inhibited
    FROM alerts
    GROUP BY alert_id
)
ORDER BY raised_at_ms, name, scope
