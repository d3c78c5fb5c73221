-- How items fare by the time since their first sale when they are shown
WITH
-- include wilson
    slots AS (
-- include labelled_slots
    ),
    lines AS (
-- include purchases
    ),
    first_sale AS (
        SELECT item_id, min(event_time_ms) AS first_ms
        FROM lines
        GROUP BY item_id
    ),
    aged AS (
        SELECT
            slots.surface AS surface,
            slots.touched AS is_touched,
            slots.bought AS is_bought,
            (served_at_ms - first_ms) / 86400000 AS days,
            multiIf(
                first_ms = 0 OR first_ms > served_at_ms, 0, days < 7, 1, days < 28, 2, 3) AS band
        FROM slots
        LEFT JOIN first_sale ON first_sale.item_id = slots.item_id
    )
SELECT
    surface,
    ['not sold before', 'under 7 days', '7 to 28 days', 'longer'][band + 1] AS known_for,
    count() AS shown,
    round(shown / sum(shown) OVER (PARTITION BY surface), 4) AS share_of_slots,
    countIf(is_touched) AS touched,
    countIf(is_bought) AS bought,
    round(bought / shown, 4) AS bought_share,
    round(share_low(bought, shown), 4) AS bought_low,
    round(share_high(bought, shown), 4) AS bought_high
FROM aged
GROUP BY surface, band
ORDER BY surface, band
