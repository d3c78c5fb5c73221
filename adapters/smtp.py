"""One mail through a server that an operator named; says whether to try again.

`smtps://` speaks TLS from the start, `smtp+starttls://` before anything else is said, `smtp://`
never, and then without a password.
"""

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import urlsplit

from schemas.errors import BadSettings, InvalidEvent, Unavailable

_ANSWER_WITHIN_S = 15.0
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class Mailer:
    """A mail server with sender and recipients.

    Args:
        server: its DSN.
        login: user and password, empty for none.
        sender: the address mails come from.
        recipients: the addresses they go to.
        context: which certificates are trusted; the system's by default.

    Raises:
        BadSettings: the DSN, the addresses, or a password without TLS.
    """

    def __init__(
        self,
        server: str,
        login: tuple[str, str],
        sender: str,
        recipients: list[str],
        context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(server)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise BadSettings(
                "SHOPLOOP_ALERT_SMTP must be smtps://, smtp+starttls:// or smtp:// and a host"
            )
        if login[0] and parts.scheme == "smtp":
            raise BadSettings("SHOPLOOP_ALERT_SMTP_USER wants smtps:// or smtp+starttls://")
        if not sender or not recipients:
            raise BadSettings("mail wants SHOPLOOP_ALERT_MAIL_FROM and SHOPLOOP_ALERT_MAIL_TO")
        self.name = f"mail {parts.hostname}"
        self._scheme, self._host = parts.scheme, parts.hostname
        self._port = parts.port or _PORTS[parts.scheme]
        self._login = login
        self._sender, self._recipients = sender, recipients
        self._context = context

    def send(self, subject: str, text: str, key: str) -> None:
        """Sends one mail; its Message-ID follows from `key`, so that a repeat is told.

        Raises:
            Unavailable: the server did not answer, or said to come again (4xx).
            InvalidEvent: it refused the mail for good (5xx).
        """
        mail = EmailMessage()
        mail["From"], mail["To"] = self._sender, ", ".join(self._recipients)
        mail["Subject"] = subject
        mail["Message-ID"] = f"<{key.replace('/', '.')}@shoploop>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        try:
            self._hand_over(mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise self._refused(min(codes)) from None
        except smtplib.SMTPResponseException as error:
            raise self._refused(error.smtp_code) from None
        except smtplib.SMTPNotSupportedError as error:
            raise InvalidEvent("not_supported", f"{self.name}: {error}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"{self.name}: {type(error).__name__}") from None

    def _hand_over(self, mail: EmailMessage) -> None:
        context = self._context or ssl.create_default_context()
        if self._scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=_ANSWER_WITHIN_S, context=context
            )
        else:
            client = smtplib.SMTP(self._host, self._port, timeout=_ANSWER_WITHIN_S)
        with client:
            if self._scheme == "smtp+starttls":
                client.starttls(context=context)
            if self._login[0]:
                client.login(*self._login)
            client.send_message(mail)

    def _refused(self, code: int) -> InvalidEvent | Unavailable:
        text = f"{self.name} answered {code}"
        return InvalidEvent(f"status_{code}", text) if code >= 500 else Unavailable(text)
