-- How often each item was ordered, and how often it was listed, in a span; follows `lines`.
    sold AS (
        SELECT item_id, count() AS lines_sold
        FROM lines
        WHERE event_time_ms >= {from_ms:Int64} AND event_time_ms < {to_ms:Int64}
        GROUP BY item_id
    ),
    listed AS (
        SELECT item_id, count() AS shown
        FROM (
            SELECT slots.item_id AS listed_ids
            FROM predictions
            WHERE surface = {surface:String} AND policy = {policy:String}
                AND served_at_ms >= {from_ms:Int64} AND served_at_ms < {to_ms:Int64}
            LIMIT 1 BY prediction_id
        )
        ARRAY JOIN listed_ids AS item_id
        GROUP BY item_id
    ),
