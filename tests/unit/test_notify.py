"""Delivery of alerts to a real HTTP server and a real SMTP server on this machine."""

from __future__ import annotations

import email
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.smtp import Mailer
from adapters.webhook import Webhook, signature
from core.settings import Settings
from schemas.errors import BadSettings, InvalidEvent, Unavailable
from schemas.metrics import Alert
from streams.notify import ByMail, ByPost, Teller, channels_of

ALERT = Alert(
    alert_id="a1",
    name="traffic_collapsed",
    severity="page",
    state="raised",
    event_time_ms=1_300_000_000_000,
    summary="0 events in 2 h where 90 are usual",
    evidence={"actual": 0.0},
    task="recommend",
    scope="events",
    runbook="docs/runbook.md#traffic_collapsed",
    raised_at_ms=1_300_000_000_000,
)


class Posted:
    """What a web server was sent, and what it answers next."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        self.url = ""


@contextmanager
def served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def posted() -> Iterator[Posted]:
    seen = Posted()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            seen.headers.append(dict(self.headers.items()))
            status = seen.answers.pop(0) if seen.answers else 204
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"{seen.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/hook/token-of-mine"
    with served(server):
        yield seen


class Mailed:
    """What a mail server was sent, how it was spoken to, and what it answers."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.said: list[str] = []
        self.recipient_answers: list[str] = []
        self.port = 0


class MailHandler(socketserver.StreamRequestHandler):
    """As much of RFC 5321, 3207 and 4954 as a client of them asks for."""

    seen: Mailed
    context: ssl.SSLContext | None = None
    at_once = False

    def setup(self) -> None:
        if self.at_once and self.context is not None:
            self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline():
            word = line.split()[0].upper().decode()
            self.seen.said.append(word)
            answer = getattr(self, f"on_{word.lower()}", None)
            if answer is None:
                self.say("250 well")
            else:
                answer()
            if word == "QUIT":
                return

    def finish(self) -> None:
        super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.close()

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        self.wfile.flush()

    def on_ehlo(self) -> None:
        starts = self.context is not None and not self.at_once
        offers = ["250-AUTH PLAIN"] + ["250-STARTTLS"] * starts
        self.say("250-here", *offers, "250 8BITMIME")

    def on_starttls(self) -> None:
        assert self.context is not None
        self.say("220 go on")
        self.request = self.context.wrap_socket(self.request, server_side=True)
        self.rfile.close()
        self.wfile.close()
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb")

    def on_auth(self) -> None:
        self.say("235 welcome")

    def on_rcpt(self) -> None:
        answers = self.seen.recipient_answers
        self.say(answers.pop(0) if answers else "250 known")

    def on_data(self) -> None:
        self.say("354 go on")
        lines = list(iter(self.rfile.readline, b".\r\n"))
        self.seen.mails.append(email.message_from_bytes(b"".join(lines)))
        self.say("250 taken")

    def on_quit(self) -> None:
        self.say("221 bye")


@contextmanager
def mail_server(context: ssl.SSLContext | None = None, at_once: bool = False) -> Iterator[Mailed]:
    seen = Mailed()
    bound = type("Bound", (MailHandler,), {"seen": seen, "context": context, "at_once": at_once})
    server = socketserver.TCPServer(("127.0.0.1", 0), bound)
    seen.port = int(server.server_address[1])
    with served(server):
        yield seen


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def mailer(dsn: str, login: tuple[str, str] = ("", ""), trusted: Path | None = None) -> Mailer:
    context = ssl.create_default_context(cafile=trusted) if trusted else None
    return Mailer(dsn, login, "loop@shop.example", ["on@call.example", "b@c.example"], context)


def never(_: float) -> bool:
    return False


def test_a_post_is_the_record_with_a_key_and_a_signature(posted: Posted) -> None:
    teller = Teller([ByPost(Webhook(posted.url, "secret"))], 5.0, never)
    assert teller.tell(ALERT)
    (body,), (headers,) = posted.bodies, posted.headers
    assert msgspec.json.decode(body, type=Alert) == ALERT
    assert headers["Idempotency-Key"] == "a1/raised"
    assert headers["Content-Type"] == "application/json"
    assert headers["Shoploop-Signature"] == f"sha256={signature(b'secret', body)}"
    assert teller.counts == {'delivered_total{channel="webhook"}': 1}


def test_a_receiver_that_is_away_is_tried_again_with_the_same_key(posted: Posted) -> None:
    posted.answers = [503, 429]
    waits: list[float] = []
    teller = Teller([ByPost(Webhook(posted.url))], 60.0, lambda s: waits.append(s) is not None)
    assert teller.tell(ALERT)
    assert {headers["Idempotency-Key"] for headers in posted.headers} == {"a1/raised"}
    assert (len(posted.bodies), waits) == (3, [1.0, 2.0])
    assert teller.counts['retried_total{channel="webhook"}'] == 2


@pytest.mark.parametrize("status", [400, 404, 302, 307])
def test_a_refusal_and_a_redirect_are_not_tried_again(posted: Posted, status: int) -> None:
    posted.answers = [status]
    teller = Teller([ByPost(Webhook(posted.url))], 5.0, never)
    assert teller.tell(ALERT)
    assert len(posted.bodies) == 1
    assert teller.counts == {'refused_total{channel="webhook"}': 1}


def test_after_the_deadline_the_next_alert_goes_on() -> None:
    teller = Teller([ByPost(Webhook("http://127.0.0.1:9/"))], 0.0, never)
    assert teller.tell(ALERT)
    assert teller.counts['failed_total{channel="webhook"}'] == 1


def test_a_channel_that_is_away_does_not_hold_up_the_other(posted: Posted) -> None:
    with mail_server() as mailed:
        channels = [
            ByPost(Webhook("http://127.0.0.1:9/")),
            ByMail(mailer(f"smtp://127.0.0.1:{mailed.port}")),
        ]
        teller = Teller(channels, 60.0, lambda _: True)
        assert not teller.tell(ALERT)  # it stops while the first is still tried
        assert len(mailed.mails) == 1


def test_no_secret_of_the_address_is_logged(
    posted: Posted, caplog: pytest.LogCaptureFixture
) -> None:
    posted.answers = [500, 400]
    Teller([ByPost(Webhook(posted.url, "secret"))], 5.0, never).tell(ALERT)
    assert "127.0.0.1" in caplog.text
    assert "token-of-mine" not in caplog.text
    assert "secret" not in caplog.text


def test_an_explained_alert_is_told_to_nobody(posted: Posted) -> None:
    teller = Teller([ByPost(Webhook(posted.url))], 5.0, never)
    assert teller.tell(msgspec.structs.replace(ALERT, inhibited_by=["burst/visitors"]))
    assert posted.bodies == []
    assert teller.counts == {"explained_total": 1}


def test_a_mail_says_what_is_the_matter_to_everybody() -> None:
    with mail_server() as mailed:
        teller = Teller([ByMail(mailer(f"smtp://127.0.0.1:{mailed.port}"))], 5.0, never)
        assert teller.tell(ALERT)
        (mail,) = mailed.mails
    assert mail["Subject"] == "[shoploop page] raised: traffic_collapsed events (recommend)"
    assert mail["To"] == "on@call.example, b@c.example"
    assert mail["Message-ID"] == "<a1.raised@shoploop>"
    text = mail.get_payload()
    assert "0 events in 2 h" in str(text)
    assert "docs/runbook.md#traffic_collapsed" in str(text)


@pytest.mark.parametrize(("scheme", "at_once"), [("smtps", True), ("smtp+starttls", False)])
def test_a_mail_goes_by_tls_with_a_password(certificate: Path, scheme: str, at_once: bool) -> None:
    with mail_server(server_side(certificate), at_once) as mailed:
        dsn = f"{scheme}://127.0.0.1:{mailed.port}"
        mailer(dsn, ("user", "password"), certificate).send("subject", "text", "a/raised")
        assert len(mailed.mails) == 1
        assert mailed.said.index("AUTH") < mailed.said.index("DATA")


@pytest.mark.parametrize(("scheme", "at_once"), [("smtps", True), ("smtp+starttls", False)])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_nobody_vouches_for_is_not_spoken_to(
    certificate: Path, scheme: str, at_once: bool
) -> None:
    with mail_server(server_side(certificate), at_once) as mailed:
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            mailer(f"{scheme}://127.0.0.1:{mailed.port}", ("u", "p")).send("s", "t", "k")
        assert "AUTH" not in mailed.said


def test_a_server_without_starttls_gets_no_password() -> None:
    with mail_server() as mailed:
        dsn = f"smtp+starttls://127.0.0.1:{mailed.port}"
        with pytest.raises(InvalidEvent, match="STARTTLS"):
            mailer(dsn, ("u", "p")).send("s", "t", "k")
        assert "AUTH" not in mailed.said


def test_a_mail_refused_for_now_is_tried_again_and_one_for_good_is_not() -> None:
    with mail_server() as mailed:
        mail = mailer(f"smtp://127.0.0.1:{mailed.port}")
        mailed.recipient_answers = ["450 later"] * 2
        with pytest.raises(Unavailable, match="450"):
            mail.send("s", "t", "k")
        mailed.recipient_answers = ["550 nobody"] * 2
        with pytest.raises(InvalidEvent, match="550"):
            mail.send("s", "t", "k")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "SHOPLOOP_ALERT_WEBHOOK or"),
        ({"alert_webhook": "ftp://x"}, "SHOPLOOP_ALERT_WEBHOOK must"),
        ({"alert_smtp": "mail.example"}, "SHOPLOOP_ALERT_SMTP must"),
        ({"alert_smtp": "smtp://m", "alert_smtp_user": "u"}, "SHOPLOOP_ALERT_SMTP_USER"),
        ({"alert_smtp": "smtps://m"}, "SHOPLOOP_ALERT_MAIL_FROM"),
    ],
)
def test_settings_that_reach_nobody_are_refused_by_name(
    changes: dict[str, str], named: str
) -> None:
    with pytest.raises(BadSettings, match=named):
        channels_of(msgspec.structs.replace(Settings(), **changes))


def test_the_record_that_is_posted_is_plain_json(posted: Posted) -> None:
    Webhook(posted.url).post(msgspec.json.encode(ALERT), "k")
    assert json.loads(posted.bodies[0])["severity"] == "page"
