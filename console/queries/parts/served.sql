-- param from_ms Int64 = 0: answers given at this event time or later
-- param to_ms Int64 = 4102444800000: and before this one
-- Answers that a shopper saw, each once.
SELECT *, fromUnixTimestamp64Milli(served_at_ms, 'UTC') AS served
FROM predictions
WHERE arm IN ('champion', 'canary', 'explore', 'fallback')
    AND served_at_ms >= {from_ms:Int64} AND served_at_ms < {to_ms:Int64}
LIMIT 1 BY prediction_id
