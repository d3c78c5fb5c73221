-- What people search for and do not buy: searches by text, the most fruitless first
-- param within_ms Int64 = 86400000: a purchase by the same visitor this soon after counts
-- param at_least Int64 = 3: visitors who searched a text before it is listed
WITH
    searches AS (
        SELECT event_id, visitor_id, event_time_ms, lower(trimBoth(assumeNotNull(query))) AS text
        FROM events
        WHERE event_name = 'search'
    ),
    orders AS (
        SELECT visitor_id, event_time_ms AS bought_ms FROM events WHERE event_name = 'purchase'
    ),
    followed AS (
        SELECT
            event_id,
            any(text) AS text,
            any(searches.visitor_id) AS visitor,
            max(bought_ms > event_time_ms AND bought_ms <= event_time_ms + {within_ms:Int64})
                AS with_purchase
        FROM searches
        LEFT JOIN orders ON orders.visitor_id = searches.visitor_id
        GROUP BY event_id
    )
SELECT
    text,
    count() AS searches,
    uniqExact(visitor) AS visitors,
    countIf(with_purchase) AS followed_by_purchase,
    searches - followed_by_purchase AS fruitless,
    round(fruitless / searches, 4) AS fruitless_share
FROM followed
GROUP BY text
HAVING visitors >= {at_least:Int64}
ORDER BY fruitless DESC, text
