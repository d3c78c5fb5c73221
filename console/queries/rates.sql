-- Interaction, cart and purchase rates of answers, with intervals, by surface, arm and version
-- param per String = 'all': one row for the whole span (all), or per day or week
-- A rate is the share of answers with at least one such slot. A slot keeps its strongest
-- interaction, so each rate contains the next. Bounds are Wilson's, 95 %, answers independent.
WITH
-- include wilson
    slots AS (
-- include labelled_slots
    ),
    answers AS (
        SELECT
            surface,
            arm,
            model_version,
            fromUnixTimestamp64Milli(any(served_at_ms), 'UTC') AS served,
            multiIf(
                {per:String} = 'day', toString(toDate(served)),
                {per:String} = 'week', toString(toStartOfWeek(served, 1)),
                'all') AS period,
            max(slots.touched) AS any_touched,
            max(slots.touched AND interaction IN ('add_to_cart', 'purchase')) AS any_carted,
            max(slots.bought) AS any_bought
        FROM slots
        GROUP BY surface, arm, model_version, prediction_id
    )
SELECT
    surface,
    period,
    arm,
    model_version,
    count() AS answers,
    round(avg(any_touched), 4) AS interaction_rate,
    round(avg(any_carted), 4) AS cart_rate,
    round(avg(any_bought), 4) AS purchase_rate,
    round(share_low(sum(any_bought), answers), 4) AS purchase_low,
    round(share_high(sum(any_bought), answers), 4) AS purchase_high
FROM answers
GROUP BY surface, period, arm, model_version
ORDER BY surface, period, arm, model_version
