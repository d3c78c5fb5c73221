-- A row per slot of every answer that a shopper saw, with its label. `touched`: an interaction was
-- credited to it, `bought`: a purchase was, and was not taken back.
WITH
    labels AS (
-- include labels
    )
SELECT
    prediction_id,
    request_id,
    visitor_id,
    surface,
    arm,
    model_version,
    served_at_ms,
    item_id,
    position,
    ifNull(kind, '') AS interaction,
    state IN ('positive', 'corrected') AS touched,
    touched AND interaction = 'purchase' AS bought,
    if(state = 'retracted', 0, revenue) AS revenue
FROM labels
ARRAY JOIN
    slots.item_id AS item_id,
    slots.position AS position,
    slots.kind AS kind,
    slots.state AS state,
    slots.revenue AS revenue
