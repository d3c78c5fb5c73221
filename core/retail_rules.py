"""How lines of the Online Retail data become events: one place for replay and measurements.

Cancellations become refunds, codes that do not begin with a digit are no products, quantities of
zero or less without a cancellation are dirt for intake to refuse, and lines without a customer
are purchases of a guest known by the invoice alone. It reads no files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

SESSION_GAP_MS = 600_000
"""Invoices of one customer with at most this gap between neighbours count as one session."""

GUEST_PREFIX = "guest:"
GUESTS_FEED_STATE = True
"""Whether guest purchases feed popularity and co-occurrence."""

Verdict = Literal["purchase", "refund", "not_a_product", "bad_quantity"]


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice line, cleaned of spelling only."""

    invoice: str
    item_id: str
    title: str
    quantity: int
    at_ms: int
    price: float
    customer: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """The product lines of one invoice or cancellation, in the order written."""

    invoice: str
    visitor_id: str
    kind: Literal["purchase", "refund"]
    at_ms: int
    lines: tuple[Line, ...]

    @property
    def is_guest(self) -> bool:
        """Whether nobody knows who bought this."""
        return self.visitor_id.startswith(GUEST_PREFIX)

    @property
    def item_ids(self) -> list[str]:
        """Distinct items in the order written."""
        return list(dict.fromkeys(line.item_id for line in self.lines))


def parse(row: dict[str, str]) -> Line:
    """One CSV row as a line; dates are read as UTC.

    >>> parse({"InvoiceNo": "536365", "StockCode": " 85123a", "Description": "LANTERN ",
    ...        "Quantity": "6", "InvoiceDate": "2010-12-01 08:26:00", "UnitPrice": "2.55",
    ...        "CustomerID": "17850.0"}).item_id
    '85123A'
    """
    at = datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=UTC)
    return Line(
        invoice=row["InvoiceNo"].strip(),
        item_id=row["StockCode"].strip().upper(),
        title=row["Description"].strip(),
        quantity=int(row["Quantity"]),
        at_ms=int(at.timestamp()) * 1000,
        price=float(row["UnitPrice"]),
        customer=row["CustomerID"].strip().removesuffix(".0"),
    )


def verdict(line: Line) -> Verdict:
    """What a line is; the order of the tests matters.

    >>> verdict(Line("C536379", "D", "Discount", -1, 0, 27.5, "14527"))
    'not_a_product'
    """
    if not line.item_id[:1].isdigit():
        return "not_a_product"
    if line.invoice.startswith("C"):
        return "refund"
    return "purchase" if line.quantity > 0 else "bad_quantity"


def visitor_of(line: Line) -> str:
    """The customer, or a guest named by the invoice."""
    return line.customer or GUEST_PREFIX + line.invoice


def invoices(lines: Iterable[Line]) -> list[Invoice]:
    """Purchases and refunds of products in time order; an invoice's time is its first line's."""
    grouped: dict[str, list[Line]] = {}
    for line in lines:
        if verdict(line) in ("purchase", "refund"):
            grouped.setdefault(line.invoice, []).append(line)
    found = [
        Invoice(
            invoice=number,
            visitor_id=visitor_of(rows[0]),
            kind="refund" if number.startswith("C") else "purchase",
            at_ms=rows[0].at_ms,
            lines=tuple(rows),
        )
        for number, rows in grouped.items()
    ]
    return sorted(found, key=lambda invoice: (invoice.at_ms, invoice.invoice))


def sessions(purchases: Iterable[Invoice]) -> list[list[Invoice]]:
    """Purchases chained by visitor while the gap is at most ten minutes, by time of the first."""
    open_of: dict[str, list[Invoice]] = {}
    chains: list[list[Invoice]] = []
    for invoice in purchases:
        chain = open_of.get(invoice.visitor_id)
        if chain is not None and invoice.at_ms - chain[-1].at_ms <= SESSION_GAP_MS:
            chain.append(invoice)
            continue
        open_of[invoice.visitor_id] = [invoice]
        chains.append(open_of[invoice.visitor_id])
    return chains
