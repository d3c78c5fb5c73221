-- The newest window of every metric, as its newest revision says
-- param age String = 'final': label age
SELECT
    surface,
    policy,
    arm,
    name,
    fromUnixTimestamp64Milli(max(window_start_ms), 'UTC') AS window_start,
    argMax(model_version, newest) AS model_version,
    round(argMax(value, newest), 4) AS value,
    argMax(n, newest) AS n,
    round(argMax(low, newest), 4) AS low,
    round(argMax(high, newest), 4) AS high,
    argMax(closed, newest) AS closed
FROM (SELECT *, (window_start_ms, revision, _offset) AS newest FROM metrics)
WHERE age = {age:String}
GROUP BY surface, policy, arm, name
ORDER BY surface, name, policy, arm
