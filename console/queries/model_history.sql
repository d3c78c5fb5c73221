-- The history of every model version: decisions, and how soon the replicas followed
-- param version String = '': this version alone, by the head of its name; empty: all
SELECT
    event_time,
    model_version,
    kind,
    if(gate_passed IS NULL, reason,
        concat(if(assumeNotNull(gate_passed), 'passed', 'failed'), ' ', gate_reason, reason)) AS why,
    process,
    round(announce_to_swap_ms, 1) AS swap_ms,
    evidence
FROM model_log
WHERE ({version:String} = '' OR startsWith(model_version, {version:String}))
ORDER BY event_time_ms, _offset
