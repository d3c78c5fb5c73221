-- How complete labels are at each age: the share of what is positive in the end
-- Only answers whose labels are final. An early figure divided by its share estimates the final one.
WITH
    labels AS (
-- include labels
    ),
    in_the_end AS (
        SELECT
            prediction_id,
            arrayCount(state -> state IN ('positive', 'corrected'), slots.state) AS positives
        FROM labels
    ),
    stated AS (
        SELECT
            surface,
            age,
            prediction_id,
            arrayCount(state -> state IN ('positive', 'corrected'), slots.state) AS positives
        FROM outcomes
        WHERE age != 'correction'
        ORDER BY version DESC
        LIMIT 1 BY prediction_id, age
    )
SELECT
    surface,
    age,
    count() AS answers,
    sum(stated.positives) AS positive_slots,
    sum(in_the_end.positives) AS positive_in_the_end,
    round(positive_slots / positive_in_the_end, 4) AS complete
FROM stated
INNER JOIN in_the_end USING (prediction_id)
GROUP BY surface, age
ORDER BY surface, indexOf(['5m', '1h', '24h', 'final'], age)
