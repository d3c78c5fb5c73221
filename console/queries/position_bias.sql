-- Seen, touched and bought by position: how much the place alone decides
-- param surface String = 'home': the surface
-- seen: the shop said so with view_item_list. touched_when_seen is what is left of the place's
-- effect once being looked at is taken out (the examination model).
WITH
-- include wilson
    slots AS (
-- include labelled_slots
    ),
    looked AS (
        SELECT DISTINCT coalesce(line_prediction, prediction_id) AS prediction_id, item_id
        FROM events
        ARRAY JOIN items.item_id AS item_id, items.prediction_id AS line_prediction
        WHERE event_name = 'view_item_list'
            AND coalesce(line_prediction, prediction_id) IS NOT NULL
    )
SELECT
    position,
    count() AS shown,
    countIf(looked.item_id != '') AS seen,
    countIf(touched) AS touched,
    countIf(bought) AS bought,
    round(touched / shown, 4) AS touched_share,
    round(share_low(touched, shown), 4) AS touched_low,
    round(share_high(touched, shown), 4) AS touched_high,
    round(countIf(slots.touched AND looked.item_id != '') / nullIf(seen, 0), 4) AS touched_when_seen
FROM slots
LEFT JOIN looked ON looked.prediction_id = slots.prediction_id AND looked.item_id = slots.item_id
WHERE surface = {surface:String}
GROUP BY position
ORDER BY position
