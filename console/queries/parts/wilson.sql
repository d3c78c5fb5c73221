-- Wilson's 95 % bounds of a share of k in n; 0 and 1 when there is nothing to go by.
(k, n) -> if(n = 0, 0, (k / n + 1.9208 / n - 1.96 * sqrt((k / n * (1 - k / n) + 0.9604 / n) / n))
    / (1 + 3.8416 / n)) AS share_low,
(k, n) -> if(n = 0, 1, (k / n + 1.9208 / n + 1.96 * sqrt((k / n * (1 - k / n) + 0.9604 / n) / n))
    / (1 + 3.8416 / n)) AS share_high,
