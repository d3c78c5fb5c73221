-- Do the streamed figures agree with the tables: HR@10 by window, streamed and computed again
-- One row per window, surface, policy, version and arm that `metrics` holds closed; difference is 0.
WITH
-- include counted
    streamed AS (
        SELECT
            window_start_ms,
            any(window_end_ms) AS window_end_ms,
            surface,
            policy,
            arm,
            model_version,
            argMax(value, revision) AS value,
            argMax(n, revision) AS n
        FROM metrics
        WHERE name = 'hr10' AND age = 'final' AND closed
        GROUP BY window_start_ms, surface, policy, arm, model_version
    ),
    judged AS (
        SELECT
            surface,
            policy,
            arm,
            model_version,
            served_at_ms,
            counted(surface, basket, new_basket) AS wanted,
            hasAny(wanted, arraySlice(slots.item_id, 1, 10)) AS hit
        FROM outcomes
        WHERE age = 'final' AND notEmpty(wanted)
        LIMIT 1 BY prediction_id
    )
SELECT
    fromUnixTimestamp64Milli(window_start_ms, 'UTC') AS window_start,
    streamed.surface AS surface,
    streamed.policy AS policy,
    streamed.arm AS arm,
    streamed.model_version AS model_version,
    round(any(streamed.value), 6) AS streamed_hr10,
    round(avg(hit), 6) AS computed_hr10,
    round(streamed_hr10 - computed_hr10, 6) AS difference,
    any(streamed.n) AS streamed_n,
    count() AS computed_n
FROM streamed
INNER JOIN judged ON judged.surface = streamed.surface AND judged.policy = streamed.policy
    AND judged.arm = streamed.arm AND judged.model_version = streamed.model_version
    AND intDiv(judged.served_at_ms, window_end_ms - window_start_ms)
        = intDiv(streamed.window_start_ms, window_end_ms - window_start_ms)
GROUP BY window_start_ms, surface, policy, arm, model_version
ORDER BY abs(difference) DESC, abs(streamed_n - computed_n) DESC, window_start_ms, surface, policy
