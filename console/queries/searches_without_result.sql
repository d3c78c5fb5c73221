-- What people search for and get no list: searches by text, the most frequent first
-- param at_least Int64 = 3: visitors who got no list for a text before it is shown
-- Personal data that shows by its form is not in a text (docs/privacy.md); one that few visitors
-- wrote may name them all the same, so those are counted in the last row, without a text.
WITH
    searches AS (
-- include searches
    ),
    by_text AS (
        SELECT
            text,
            count() AS n,
            countIf(listed = 0) AS empty,
            countIf(listed = 0 AND is_degraded) AS empty_degraded,
            countIf(listed = 0 AND is_filtered) AS empty_filtered,
            countIf(listed = 0 AND is_corrected) AS empty_corrected,
            groupUniqArrayIf(visitor_id, listed = 0) AS people
        FROM searches
        GROUP BY text
        HAVING empty > 0
    )
SELECT
    if(length(people) >= {at_least:Int64}, text, NULL) AS query,
    sum(n) AS searches,
    sum(empty) AS without_result,
    round(without_result / searches, 4) AS share,
    length(groupUniqArrayArray(people)) AS visitors,
    sum(empty_filtered) AS with_filters,
    sum(empty_corrected) AS corrected,
    sum(empty_degraded) AS while_degraded,
    count() AS texts
FROM by_text
GROUP BY query
ORDER BY query IS NULL, without_result DESC, query
