-- Does a score mean what it says: predicted and observed share of bought slots, by decile of score
-- param surface String = 'home': the surface
-- A score is log-odds. bought: the item is in the basket that followed (on discover: and is new; on
-- buy_again: and is not).
WITH
-- include counted
-- include wilson
    served AS (
-- include served
    ),
    labels AS (
        SELECT prediction_id, counted(surface, basket, new_basket) AS wanted
        FROM outcomes
        WHERE age IN ('final', 'correction')
        ORDER BY version DESC
        LIMIT 1 BY prediction_id
    ),
    scored AS (
        SELECT
            1 / (1 + exp(-score)) AS chance,
            has(wanted, item_id) AS bought,
            ntile(10) OVER (ORDER BY score, prediction_id, item_id) AS decile
        FROM (
            SELECT prediction_id, slots.item_id AS listed, slots.score AS scores
            FROM served
            WHERE surface = {surface:String} AND policy = 'loop' AND arm != 'fallback'
        ) AS answers
        INNER JOIN labels USING (prediction_id)
        ARRAY JOIN listed AS item_id, scores AS score
    )
SELECT
    decile,
    count() AS slots,
    round(avg(chance), 4) AS predicted,
    round(avg(bought), 4) AS observed,
    round(share_low(sum(bought), count()), 4) AS observed_low,
    round(share_high(sum(bought), count()), 4) AS observed_high,
    round(sum(bought) / sum(chance), 4) AS ratio
FROM scored
GROUP BY decile
ORDER BY decile
