-- The evidence behind every decision about a version: shadow, canary, promotion, refusal
-- param version String = '': this version alone, by the head of its name; empty: all
SELECT
    event_time,
    model_version,
    kind,
    reason,
    name AS measure,
    if(measure = '', NULL, round(value, 4)) AS value
FROM model_log
LEFT ARRAY JOIN mapKeys(evidence) AS name, mapValues(evidence) AS value
WHERE kind IN ('shadow', 'canary', 'promoted', 'rejected', 'rolled_back')
    AND ({version:String} = '' OR startsWith(model_version, {version:String}))
ORDER BY event_time_ms, _offset, measure
