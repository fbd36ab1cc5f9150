"""What the groups of a run have shown, for people."""

from collections.abc import Sequence
from statistics import median

from tests.kill.group_ledger import GroupLedger


def group_report(books: Sequence[GroupLedger], in_flight: Sequence[int]) -> list[str]:
    """Return lines for the report; none without groups."""
    acked = sum(book.acked for book in books)
    if not acked:
        return []
    standalone = sum(book.standalone for book in books)
    seats = sum(len(book.records) for book in books)
    return [
        f"commits acknowledged: {acked} in {seats} partitions of groups, {standalone} of them from "
        f"outside; compared after a start: {sum(book.checked for book in books)}",
        f"commits in flight at an end: {sum(in_flight)} in all, median "
        f"{median(in_flight or [0]):.0f}, most {max(in_flight, default=0)}; "
        "acknowledged commits lost: "
        f"{sum(book.lost for book in books)}",
        f"members: {sum(book.joined for book in books)} joined, "
        f"{sum(book.resumed for book in books)} resumed; records delivered to them: "
        f"{sum(book.delivered for book in books)}",
    ]


def groups_lacking(books: Sequence[GroupLedger], in_flight: Sequence[int]) -> list[str]:
    """Return what must have happened to groups in a run of several kills, and has not."""
    seen = {
        "commits of members": sum(book.acked - book.standalone for book in books),
        "commits from outside": sum(book.standalone for book in books),
        "commits in flight at a kill": sum(in_flight),
        "resumed members": sum(book.resumed for book in books),
        "records delivered to members": sum(book.delivered for book in books),
        "commits compared": sum(book.checked for book in books),
    }
    return [f"no {what}" for what, count in seen.items() if not count]
