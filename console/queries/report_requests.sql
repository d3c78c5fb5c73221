-- Every judged request by policy: hit, recall, and the customer to resample by
WITH
    judged AS (
-- include judged
    )
SELECT
    request_id,
    surface,
    policy,
    visitor AS visitor_id,
    served_ms AS served_at_ms,
    length(wanted) AS wanted,
    hit,
    recall
FROM judged
ORDER BY served_at_ms, request_id, policy
