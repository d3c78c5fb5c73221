-- Items that one version sells better than another: winners on top, losers at the end
-- param surface String = 'home': the surface
-- param version String = '': the version in question; empty: the newest that answered
-- param than String = '': the one to compare with; empty: the one before it
-- param shown_at_least Int64 = 20: in both versions
-- param top Int64 = 10: how many of each
-- z compares the two purchase shares; among many items some pass 2 by chance.
WITH
    slots AS (
-- include labelled_slots
    ),
    versions AS (
        SELECT groupArray(model_version) AS newest_first
        FROM (SELECT model_version FROM slots GROUP BY model_version ORDER BY min(served_at_ms) DESC)
    ),
    (SELECT if({version:String} = '', newest_first[1], {version:String}) FROM versions) AS this,
    (SELECT if({than:String} = '', newest_first[indexOf(newest_first, this) + 1], {than:String})
        FROM versions) AS other,
    counted AS (
        SELECT
            item_id,
            countIf(model_version = this) AS shown,
            countIf(model_version = other) AS shown_before,
            countIf(bought AND model_version = this) AS sold,
            countIf(bought AND model_version = other) AS sold_before
        FROM slots
        WHERE surface = {surface:String} AND model_version IN (this, other)
        GROUP BY item_id
        HAVING shown >= {shown_at_least:Int64} AND shown_before >= {shown_at_least:Int64}
    ),
    compared AS (
        SELECT
            *,
            sold / shown - sold_before / shown_before AS difference,
            (sold + sold_before) / (shown + shown_before) AS pooled,
            if(pooled IN (0, 1), 0,
                difference / sqrt(pooled * (1 - pooled) * (1 / shown + 1 / shown_before))) AS z,
            row_number() OVER (ORDER BY z DESC, item_id) AS place,
            count() OVER () AS items
        FROM counted
    )
SELECT
    item_id,
    titles.title AS title,
    this AS version,
    other AS than,
    shown,
    sold,
    shown_before,
    sold_before,
    round(difference, 4) AS difference,
    round(z, 2) AS z
FROM compared
LEFT JOIN (
    SELECT item_id, argMax(title, updated_at_ms) AS title FROM items GROUP BY item_id
) AS titles USING (item_id)
WHERE place <= {top:Int64} OR place > items - {top:Int64}
ORDER BY place
