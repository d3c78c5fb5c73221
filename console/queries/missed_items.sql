-- What shoppers bought after an answer that had not listed it: the most missed items first
-- param surface String = 'discover': the surface
-- param top Int64 = 50: items listed
WITH
-- include counted
    labels AS (
-- include labels
    ),
    wanted AS (
        SELECT item_id, has(listed, item_id) AS was_listed
        FROM (
            SELECT
                slots.item_id AS listed,
                counted(surface, basket, new_basket) AS bought
            FROM labels
            WHERE surface = {surface:String}
        )
        ARRAY JOIN bought AS item_id
    )
SELECT
    wanted.item_id AS item_id,
    any(titles.title) AS title,
    count() AS times_bought,
    countIf(NOT was_listed) AS times_missed,
    round(times_missed / times_bought, 4) AS missed_share
FROM wanted
LEFT JOIN (
    SELECT item_id, argMax(title, updated_at_ms) AS title FROM items GROUP BY item_id
) AS titles ON titles.item_id = wanted.item_id
GROUP BY item_id
ORDER BY times_missed DESC, item_id
LIMIT {top:Int64}
