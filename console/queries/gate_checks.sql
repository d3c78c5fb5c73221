-- Every check that every candidate passed or failed before it was tried on shoppers
-- param version String = '': this version alone, by the head of its name; empty: all
SELECT
    event_time,
    model_version,
    name AS check,
    passed,
    round(value, 4) AS value,
    round(threshold, 4) AS threshold,
    round(low, 4) AS low,
    round(high, 4) AS high,
    n,
    detail
FROM model_log
ARRAY JOIN
    gate_checks.name AS name,
    gate_checks.passed AS passed,
    gate_checks.value AS value,
    gate_checks.threshold AS threshold,
    gate_checks.low AS low,
    gate_checks.high AS high,
    gate_checks.n AS n,
    gate_checks.detail AS detail
WHERE kind = 'gate'
    AND ({version:String} = '' OR startsWith(model_version, {version:String}))
ORDER BY event_time_ms, _offset, check
