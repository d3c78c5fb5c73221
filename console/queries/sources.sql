-- Which candidate sources earn their place: shown and bought slots by source, with mean position
WITH
-- include wilson
    served AS (
-- include served
    ),
    origins AS (
        SELECT prediction_id, item_id, source
        FROM (SELECT prediction_id, slots.item_id AS ids, slots.source AS origins FROM served)
        ARRAY JOIN ids AS item_id, origins AS source
    ),
    slots AS (
-- include labelled_slots
    )
SELECT
    surface,
    arrayJoin(splitByChar('+', origins.source)) AS source,
    count() AS shown,
    round(avg(position), 2) AS mean_position,
    countIf(bought) AS bought,
    round(bought / shown, 4) AS bought_share,
    round(share_low(bought, shown), 4) AS bought_low,
    round(share_high(bought, shown), 4) AS bought_high
FROM slots
INNER JOIN origins ON origins.prediction_id = slots.prediction_id
    AND origins.item_id = slots.item_id
GROUP BY surface, source
ORDER BY surface, shown DESC, source
