-- What followed each drift alarm: the retrain it asked for, what became of it, how long it took
SELECT
    alarm.event_time AS alarm_at,
    alarm.surface AS surface,
    alarm.kind AS kind,
    alarm.detector AS detector,
    alarm.status AS status,
    if(alarm.status = 'suppressed', alarm.reason, asked.why) AS reason,
    asked.states AS states,
    asked.version AS model_version,
    said.decision AS decision,
    if(said.decided_ms > 0, round((said.decided_ms - alarm.event_time_ms) / 86400000, 2), NULL)
        AS days_to_decision
FROM (SELECT *, event_time FROM drift LIMIT 1 BY drift_id) AS alarm
LEFT JOIN (
    SELECT
        assumeNotNull(drift_id) AS drift_id,
        arrayDistinct(arrayMap(each -> each.2,
            arraySort(groupArray((_offset, toString(state)))))) AS states,
        argMax(reason, _offset) AS why,
        argMax(model_version, model_version IS NOT NULL) AS version
    FROM retrain
    WHERE drift_id IS NOT NULL
    GROUP BY drift_id
) AS asked ON asked.drift_id = alarm.drift_id
LEFT JOIN (
    SELECT
        model_version,
        argMax(toString(kind), _offset) AS decision,
        argMax(event_time_ms, _offset) AS decided_ms
    FROM model_log
    WHERE kind IN ('promoted', 'rejected', 'rolled_back')
    GROUP BY model_version
) AS said ON said.model_version = asked.version
ORDER BY alarm.event_time_ms, alarm.drift_id
