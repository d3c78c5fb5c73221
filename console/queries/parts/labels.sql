-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- What became of each answer that a shopper saw, once its labels were final: the newest statement.
SELECT *, fromUnixTimestamp64Milli(served_at_ms, 'UTC') AS served
FROM outcomes
WHERE arm IN ('champion', 'canary', 'explore', 'fallback') AND age IN ('final', 'correction')
    AND served_at_ms >= {from_ms:Int64} AND served_at_ms < {to_ms:Int64}
ORDER BY version DESC
LIMIT 1 BY prediction_id
