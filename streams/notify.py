"""Tells people and programs of alerts: follows the topic `alerts`, posts and mails each once.

A record's offset is committed after its delivery, so that a crash may repeat one, with the same
key, and loses none. A receiver that is away is tried again with backoff until a deadline, then
counted, and the next alert goes on. Run by `python -m streams notify`.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from confluent_kafka import Consumer, Message, TopicPartition

from adapters.health import counters_text, start_health
from adapters.kafka import (
    ANSWER_WITHIN_S,
    asked,
    consumer,
    ends_of,
    ensure_topics,
    group_name,
    raise_if_lasting,
    topic_name,
)
from adapters.kafka_offsets import commit
from adapters.smtp import Mailer
from adapters.webhook import Webhook
from core.alert_text import is_told, key_of, subject_of, text_of
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.errors import BadSettings, InvalidEvent, Unavailable
from schemas.metrics import Alert

logger = logging.getLogger(__name__)
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0
_POLL_S = 0.5


class Channel(Protocol):
    """A way to tell of an alert."""

    name: str

    def tell(self, alert: Alert) -> None:
        """Delivers it; raises Unavailable to be asked again, InvalidEvent when it is refused."""


class ByPost:
    """Each alert as JSON to a webhook."""

    def __init__(self, webhook: Webhook) -> None:
        self.name = webhook.name
        self._webhook = webhook

    def tell(self, alert: Alert) -> None:
        """Posts it."""
        self._webhook.post(encode(alert), key_of(alert))


class ByMail:
    """Each alert as a mail."""

    def __init__(self, mailer: Mailer) -> None:
        self.name = mailer.name
        self._mailer = mailer

    def tell(self, alert: Alert) -> None:
        """Mails it."""
        self._mailer.send(subject_of(alert), text_of(alert), key_of(alert))


def channels_of(settings: Settings) -> list[Channel]:
    """The channels that the settings name.

    Raises:
        BadSettings: none is named, or one cannot be used.
    """
    found: list[Channel] = []
    if settings.alert_webhook:
        found.append(ByPost(Webhook(settings.alert_webhook, settings.alert_webhook_secret)))
    if settings.alert_smtp:
        login = (settings.alert_smtp_user, settings.alert_smtp_password)
        recipients = [part.strip() for part in settings.alert_mail_to.split(",") if part.strip()]
        found.append(
            ByMail(Mailer(settings.alert_smtp, login, settings.alert_mail_from, recipients))
        )
    if not found:
        raise BadSettings("nobody to notify: set SHOPLOOP_ALERT_WEBHOOK or SHOPLOOP_ALERT_SMTP")
    return found


class Teller:
    """Delivers alerts one by one; `counts` says what became of them.

    Args:
        channels: where to.
        deadline_s: how long one alert is tried.
        stopped: waits so many seconds and says whether the process is stopping.
    """

    def __init__(
        self, channels: Sequence[Channel], deadline_s: float, stopped: Callable[[float], bool]
    ) -> None:
        self._channels = channels
        self._deadline_s = deadline_s
        self._stopped = stopped
        self.counts: Counter[str] = Counter()

    def tell(self, alert: Alert) -> bool:
        """Delivers it on every channel; False when the process stops before it is done."""
        if not is_told(alert):
            self.counts["explained_total"] += 1
            return True
        waiting, backoff_s = list(self._channels), FIRST_BACKOFF_S
        until_s = time.monotonic() + self._deadline_s
        while waiting := [each for each in waiting if not self._done(each, alert)]:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            if self._stopped(min(backoff_s, left_s)):
                return False
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
        for channel in waiting:
            self._count("failed", channel)
            logger.error("%s: not told of alert %s in time", channel.name, key_of(alert))
        return True

    def _done(self, channel: Channel, alert: Alert) -> bool:
        try:
            channel.tell(alert)
        except InvalidEvent as error:
            self._count("refused", channel)
            logger.error("%s; alert %s is given up", error, key_of(alert))
            return True
        except Unavailable as error:
            self._count("retried", channel)
            logger.warning("%s; alert %s is tried again", error, key_of(alert))
            return False
        self._count("delivered", channel)
        return True

    def _count(self, what: str, channel: Channel) -> None:
        kind = channel.name.partition(" ")[0]
        self.counts[f'{what}_total{{channel="{kind}"}}'] += 1


class Feed:
    """The topic `alerts`, from where the group stands; a new group begins at the end."""

    def __init__(self, settings: Settings) -> None:
        longest_ms = 2 * settings.alert_deadline_ms + 300_000
        self._consumer = consumer(
            settings,
            group_name(settings, "notify"),
            from_start=False,
            max_poll_interval_ms=longest_ms,
        )
        self._decode = Decoder(topics.ALERTS.record)
        self.ready = False
        self._consumer.subscribe([topic_name(settings, topics.ALERTS)], on_assign=self._begin)

    def next(self) -> tuple[Message, Alert | None] | None:
        """The next record, with no alert when it is none; None when nothing has come."""
        message = self._consumer.poll(_POLL_S)
        if message is None:
            return None
        if (error := message.error()) is not None:
            raise_if_lasting(error)
            return None
        try:
            return message, self._decode(message.value())
        except InvalidEvent:
            return message, None

    def done(self, message: Message) -> None:
        """What the record says has been delivered."""
        commit(self._consumer, message)

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()

    def _begin(self, client: Consumer, places: list[TopicPartition]) -> None:
        """Keeps the place where a new group begins, so that nothing is missed from here on."""
        for place in asked(
            lambda: client.committed(places, timeout=ANSWER_WITHIN_S), "where alerts are told from"
        ):
            if place.offset < 0:
                _, place.offset = ends_of(client, place.topic, place.partition)
                self._keep(client, place)
        self.ready = True

    def _keep(self, client: Consumer, place: TopicPartition) -> None:
        asked(lambda: client.commit(offsets=[place], asynchronous=False), "where alerts begin")


def run(settings: Settings) -> None:
    """Notify until SIGTERM or SIGINT.

    Raises:
        Unavailable: Kafka did not answer in time.
        BadSettings: nobody to notify, or a channel's settings are wrong.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    notify_until(settings, channels_of(settings), stop)


def notify_until(settings: Settings, channels: Sequence[Channel], stop: threading.Event) -> None:
    """Notify on these channels until `stop` is set; raises as `run`."""
    ensure_topics(settings)
    teller = Teller(channels, settings.alert_deadline_ms / 1000, stop.wait)
    feed = Feed(settings)
    health = None
    if settings.http_port:
        health = start_health(
            settings,
            lambda: feed.ready,
            lambda: counters_text("shoploop_notify", {**teller.counts, "ready": float(feed.ready)}),
        )
    try:
        while not stop.is_set():
            found = feed.next()
            if found is None:
                continue
            message, alert = found
            if alert is None or teller.tell(alert):
                feed.done(message)
    finally:
        feed.close()
        if health is not None:
            health.stop()
