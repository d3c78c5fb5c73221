-- Revenue credited to answers, in all and per 1,000 answers, by surface, arm and version
-- The bounds are normal, 95 %, answers independent. Orders taken back are left out.
WITH
    slots AS (
-- include labelled_slots
    ),
    answers AS (
        SELECT surface, arm, model_version, prediction_id, sum(slots.revenue) AS earned
        FROM slots
        GROUP BY surface, arm, model_version, prediction_id
    )
SELECT
    surface,
    arm,
    model_version,
    count() AS answers,
    round(sum(earned), 2) AS revenue,
    round(1000 * avg(earned), 2) AS per_1000,
    round(1000 * (avg(earned) - 1.96 * stddevSampStable(earned) / sqrt(count())), 2) AS low,
    round(1000 * (avg(earned) + 1.96 * stddevSampStable(earned) / sqrt(count())), 2) AS high
FROM answers
GROUP BY surface, arm, model_version
ORDER BY surface, arm, model_version
