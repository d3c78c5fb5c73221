-- Every retrain request: why, the alarm behind it, what became of it
SELECT
    asked.retrain_id AS retrain_id,
    fromUnixTimestamp64Milli(asked.asked_ms, 'UTC') AS asked_at,
    asked.kind AS kind,
    asked.states AS states,
    asked.why AS reason,
    arrayFilter(each -> each != reason, asked.held_up) AS held_up_by,
    alarm.detector AS detector,
    alarm.surface AS surface,
    round(alarm.baseline, 4) AS baseline,
    round(alarm.current, 4) AS current,
    alarm.n AS n,
    asked.version AS model_version,
    said.steps AS decisions
FROM (
    SELECT
        retrain_id,
        min(event_time_ms) AS asked_ms,
        any(retrain.kind) AS kind,
        arrayDistinct(arrayMap(each -> each.2,
            arraySort(groupArray((_offset, toString(state)))))) AS states,
        if(has(states, 'accepted'), argMinIf(reason, _offset, state = 'accepted'),
            argMin(reason, _offset)) AS why,
        arrayDistinct(groupArrayIf(reason, state = 'suppressed')) AS held_up,
        argMax(drift_id, drift_id IS NOT NULL) AS drift_id,
        argMax(model_version, model_version IS NOT NULL) AS version
    FROM retrain
    GROUP BY retrain_id
) AS asked
LEFT JOIN (SELECT * FROM drift LIMIT 1 BY drift_id) AS alarm ON alarm.drift_id = asked.drift_id
LEFT JOIN (
    SELECT
        model_version,
        arrayMap(each -> each.2, arraySort(groupArray((_offset,
            if(reason = '', toString(model_log.kind), concat(model_log.kind, ': ', reason)))))) AS steps
    FROM model_log
    WHERE kind NOT IN ('swapped', 'refused')
    GROUP BY model_version
) AS said ON said.model_version = asked.version
ORDER BY asked_at, retrain_id
