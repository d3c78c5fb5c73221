-- Every closed window of one metric, by surface and policy
-- param metric String = 'hr10': the metric's name
-- param age String = 'final': label age
SELECT
    fromUnixTimestamp64Milli(window_start_ms, 'UTC') AS window_start,
    surface,
    policy,
    arm,
    model_version,
    round(argMax(value, revision), 4) AS value,
    argMax(n, revision) AS n
FROM metrics
WHERE name = {metric:String} AND age = {age:String} AND closed
GROUP BY window_start_ms, surface, policy, arm, model_version
ORDER BY window_start_ms, surface, policy
