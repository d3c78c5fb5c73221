-- What the online ranker believes: each feature's weight at the end of each day
-- param surface String = 'home': the surface
-- param feature String = '': one feature, empty for all
-- param role String = 'live': live, or control for the frozen ones
WITH
    daily AS (
        SELECT
            toDate(fromUnixTimestamp64Milli(max(event_time_ms), 'UTC')) AS day,
            argMax(model_version, (event_time_ms, _offset)) AS version_then,
            argMax(names, (event_time_ms, _offset)) AS features,
            argMax(coef, (event_time_ms, _offset)) AS values,
            argMax(examples, (event_time_ms, _offset)) AS learned_from,
            argMax(log_loss, (event_time_ms, _offset)) AS loss
        FROM weights
        WHERE surface = {surface:String} AND role = {role:String}
        GROUP BY toDate(fromUnixTimestamp64Milli(event_time_ms, 'UTC'))
    )
SELECT
    day,
    version_then AS model_version,
    feature_name AS feature,
    round(value, 4) AS weight,
    round(value - lagInFrame(value, 1, value) OVER (
        PARTITION BY feature_name ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ), 4) AS change,
    learned_from AS examples,
    round(loss, 4) AS log_loss
FROM daily
ARRAY JOIN features AS feature_name, values AS value
WHERE {feature:String} IN ('', feature_name)
ORDER BY day, feature
