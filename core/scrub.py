"""Free text without e-mail addresses, phone numbers and payment card numbers.

What is found gives way to `<email>`, `<phone>` or `<card>`. A cheap test comes first: most texts
hold neither an @ nor seven digits.
"""

import re

import phonenumbers

_SUSPECT = re.compile(r"@|\d(?:[^\d]{0,3}\d){6}").search
# Bounded on purpose: a quantifier without a limit takes quadratic time on hostile text.
_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DIGIT_RUN = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_NOT_DIGIT = re.compile(r"\D")
# Leading digits and lengths of the card schemes. Thirteen digits, once Visa's too, are left out:
# they are what a book's or an article's number has.
_CARD = re.compile(
    r"4\d{15}(?:\d{3})?"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}(?:\d{2})?"
    r"|(?:6011|65\d\d|64[4-9]\d|62\d\d|35[2-8]\d)\d{12,15}"
)


def is_suspect(text: str) -> bool:
    """Whether the text is worth a closer look.

    >>> is_suspect("mug"), is_suspect("020 7946 0958")
    (False, True)
    """
    return _SUSPECT(text) is not None


def scrubbed(text: str, phone_region: str = "") -> str:
    """The text with tokens in place of what identifies a person.

    Args:
        text: what a shopper typed.
        phone_region: whose national phone numbers are known, an ISO 3166 code such as GB; without
            one only numbers with a country code are.

    >>> scrubbed("mug for ann@example.com, call +44 20 7946 0958")
    'mug for <email>, call <phone>'
    >>> scrubbed("4111 1111 1111 1111"), scrubbed("iphone 15"), scrubbed("isbn 9780306406157")
    ('<card>', 'iphone 15', 'isbn 9780306406157')
    """
    if not is_suspect(text):
        return text
    if "@" in text:
        text = _EMAIL.sub("<email>", text)
    text = _DIGIT_RUN.sub(_card_or_same, text)
    return _without_phones(text, phone_region or None)


def _card_or_same(found: re.Match[str]) -> str:
    digits = _NOT_DIGIT.sub("", found[0])
    return "<card>" if _CARD.fullmatch(digits) and passes_luhn(digits) else found[0]


def passes_luhn(digits: str) -> bool:
    """Whether the check digit is right.

    Source: ISO/IEC 7812-1, annex B.

    >>> passes_luhn("4111111111111111"), passes_luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _without_phones(text: str, region: str | None) -> str:
    parts, end = [], 0
    for found in phonenumbers.PhoneNumberMatcher(text, region):
        parts += [text[end : found.start], "<phone>"]
        end = found.end
    return "".join([*parts, text[end:]])
