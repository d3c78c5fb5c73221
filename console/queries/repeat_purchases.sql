-- Who buys again: customers by the month of their first order, and how many ordered in each month
WITH
    orders AS (
        SELECT
            visitor_id,
            toStartOfMonth(fromUnixTimestamp64Milli(event_time_ms, 'UTC')) AS month,
            min(month) OVER (PARTITION BY visitor_id) AS cohort
        FROM events
        WHERE event_name = 'purchase'
    ),
    sizes AS (SELECT cohort, uniqExact(visitor_id) AS customers FROM orders GROUP BY cohort)
SELECT
    orders.cohort AS first_month,
    dateDiff('month', orders.cohort, orders.month) AS months_later,
    any(sizes.customers) AS customers,
    uniqExact(visitor_id) AS ordered,
    round(ordered / any(sizes.customers), 4) AS share
FROM orders
INNER JOIN sizes ON sizes.cohort = orders.cohort
GROUP BY first_month, months_later
ORDER BY first_month, months_later
