"""The open answers of one partition: those used lately in memory, all of them in the store."""

from collections.abc import Iterator

import msgspec

from schemas.predictions import Prediction
from streams.store import Changes, Store
from streams.warm import Warm

ANSWER = "answer"
_pack = msgspec.msgpack.Encoder().encode
_answer = msgspec.msgpack.Decoder(Prediction).decode


class AnswerRows:
    """Answers by id, from when they are opened until they are forgotten."""

    def __init__(self, number: int, store: Store, most: int) -> None:
        self._number = number
        self._store = store
        self._known: Warm[Prediction] = Warm(most)
        self._opened: dict[str, Prediction] = {}
        self._gone: set[str] = set()

    @property
    def changed(self) -> int:
        """How many rows a checkpoint has to write."""
        return len(self._opened) + len(self._gone)

    def open(self, answer: Prediction) -> None:
        """Keeps an answer."""
        self._known.put(answer.prediction_id, answer)
        self._opened[answer.prediction_id] = answer

    def get(self, prediction_id: str) -> Prediction:
        """The answer itself, from memory or the store; raises LookupError."""
        known = self._known.get(prediction_id)
        if known is None:
            value = self._store.get((self._number, ANSWER, prediction_id))
            if value is None:
                raise LookupError(f"answer {prediction_id} is open and not stored")
            known = _answer(value)
            self._known.put(prediction_id, known)
        return known

    def forget(self, prediction_id: str) -> None:
        """Lets an answer go for good."""
        self._known.drop(prediction_id)
        if self._opened.pop(prediction_id, None) is None:
            self._gone.add(prediction_id)  # the store has it, or will have

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Freezes what changed since the last time; the iterator writes it down bit by bit."""
        for prediction_id in self._gone:
            changes.delete((self._number, ANSWER, prediction_id))
        self._gone.clear()
        opened, self._opened = self._opened, {}
        self._known.turn()
        return self._write_down(changes, opened)

    def _write_down(self, changes: Changes, opened: dict[str, Prediction]) -> Iterator[None]:
        for prediction_id, answer in opened.items():
            changes.put((self._number, ANSWER, prediction_id), _pack(answer))
            yield
