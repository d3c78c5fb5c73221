"""How many records a batch may have, so that an event does not wait long for the one before."""

LEAST, MOST = 200, 20_000
BATCH_S = 0.15


class BatchSize:
    """Grows while batches are quick, and shrinks to what was worked through in `BATCH_S`.

    >>> size = BatchSize()
    >>> size.fit(200, 0.01); size.most
    400
    >>> size.fit(400, 0.2); size.most
    300
    """

    def __init__(self) -> None:
        self.most = LEAST

    def fit(self, records: int, took_s: float) -> None:
        """Takes in how long a batch took."""
        if took_s > BATCH_S:
            self.most = max(int(records * BATCH_S / took_s), LEAST)
        elif records >= self.most:
            self.most = min(2 * self.most, MOST)
