-- Who changed what: keys, models, trainings, dead letters sent again
-- param from_ms Int64 = 0: actions since then, UTC epoch milliseconds
-- param who String = '': of this operator alone
SELECT
    min(event_time) AS time,
    any(actor) AS who,
    any(action) AS did,
    any(target) AS to_what,
    argMax(outcome, outcome != 'unknown') AS ended,
    argMax(detail, outcome != 'unknown') AS details
FROM audit
WHERE event_time_ms >= {from_ms:Int64} AND ({who:String} = '' OR actor = {who:String})
GROUP BY audit_id
ORDER BY time, audit_id
