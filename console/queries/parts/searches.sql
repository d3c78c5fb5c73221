-- A row per search that was answered; `listed` is how many items its list had.
SELECT
    served,
    visitor_id,
    latency_ms,
    lowerUTF8(trimBoth(assumeNotNull(query))) AS text,
    length(slots.item_id) AS listed,
    degraded IS NOT NULL AS is_degraded,
    context_corrected_query != '' AS is_corrected,
    notEmpty(context_filters_categories) OR notEmpty(context_filters_excluded_categories)
        OR context_filters_price_from IS NOT NULL
        OR context_filters_price_to IS NOT NULL AS is_filtered
FROM (
-- include served
)
WHERE surface = 'search' AND query IS NOT NULL
