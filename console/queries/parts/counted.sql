-- The items of a basket that count: on discover those new to the visitor, on buy_again the others.
(surface, basket, new_basket) -> multiIf(surface = 'discover', new_basket,
    surface = 'buy_again', arrayFilter(item -> NOT has(new_basket, item), basket),
    basket) AS counted,
