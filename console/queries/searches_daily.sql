-- Searches by day and kind of text: without a result, corrected, narrowed by filters, and how slow
-- A text with a digit in it (a size, a part number) is of the kind `with digits`, whatever its length.
WITH
    searches AS (
-- include searches
    ),
    sorted AS (
        SELECT
            *,
            length(splitByWhitespace(text)) AS words,
            multiIf(
                match(text, '[0-9]'), 3, words <= 1, 0, words = 2, 1, 2) AS class
        FROM searches
    )
SELECT
    toDate(served) AS day,
    ['one word', 'two words', 'three and more', 'with digits'][class + 1] AS kind,
    count() AS searches,
    uniqExact(visitor_id) AS visitors,
    countIf(listed = 0) AS without_result,
    round(without_result / searches, 4) AS share,
    countIf(is_corrected) AS corrected,
    countIf(is_filtered) AS with_filters,
    countIf(is_degraded) AS degraded_answers,
    round(quantileExact(0.5)(latency_ms), 2) AS p50_ms,
    round(quantileExact(0.99)(latency_ms), 2) AS p99_ms
FROM sorted
GROUP BY day, class
ORDER BY day, class
