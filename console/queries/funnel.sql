-- From answers to purchases, by surface: only what was credited to an answer
-- param from_ms Int64 = 0: event time from
-- param to_ms Int64 = 4102444800000: event time before
WITH
    answered AS (
        SELECT prediction_id, any(predictions.surface) AS surface
        FROM predictions
        WHERE arm NOT IN ('shadow', 'control')
            AND served_at_ms >= {from_ms:Int64} AND served_at_ms < {to_ms:Int64}
        GROUP BY prediction_id
    ),
    acted AS (
        SELECT
            event_name,
            coalesce(line_prediction, prediction_id) AS credited,
            item_id,
            quantity * coalesce(price, 0) AS revenue
        FROM events
        ARRAY JOIN
            items.item_id AS item_id,
            items.prediction_id AS line_prediction,
            items.quantity AS quantity,
            items.price AS price
        WHERE event_time_ms >= {from_ms:Int64} AND event_time_ms < {to_ms:Int64}
            AND coalesce(line_prediction, prediction_id) IS NOT NULL
    )
SELECT
    answered.surface AS surface,
    uniqExact(answered.prediction_id) AS answers,
    uniqExactIf(answered.prediction_id, event_name = 'view_item_list') AS answers_seen,
    countIf(event_name = 'view_item_list') AS items_seen,
    countIf(event_name = 'select_item') AS items_clicked,
    countIf(event_name = 'add_to_cart') AS items_in_cart,
    countIf(event_name = 'purchase') AS items_bought,
    round(sumIf(revenue, event_name = 'purchase'), 2) AS revenue
FROM answered
LEFT JOIN acted ON acted.credited = answered.prediction_id
GROUP BY surface
ORDER BY surface
