-- A row per line of every order.
SELECT
    visitor_id,
    session_id,
    transaction_id,
    event_time_ms,
    item_id,
    quantity * coalesce(price, 0) AS revenue,
    coalesce(line_prediction, prediction_id) AS credited
FROM events
ARRAY JOIN
    items.item_id AS item_id,
    items.quantity AS quantity,
    items.price AS price,
    items.prediction_id AS line_prediction
WHERE event_name = 'purchase'
