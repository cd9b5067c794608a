"""How the command line writes numbers."""

from __future__ import annotations

_MINUTE_S = 60
_HOUR_S = 3600


def dollars(cost_usd: float) -> str:
    """Money; small sums get more digits: ``$12.30``, ``$0.0042``."""
    return f"${cost_usd:,.2f}" if cost_usd >= 1 else f"${cost_usd:.4f}"


def seconds(duration_s: float | None) -> str:
    """A latency: ``0.42 s``, ``12.3 s``; ``-`` if there is none."""
    if duration_s is None:
        return "-"
    return f"{duration_s:.2f} s" if duration_s < 10 else f"{duration_s:.1f} s"


def span(duration_s: float) -> str:
    """A time to wait: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    total = round(duration_s)
    if total < _MINUTE_S:
        return f"{total} s"
    if total < _HOUR_S:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // _HOUR_S} h {total % _HOUR_S // 60:02d} min"


def amount(number: int) -> str:
    """A large number, rounded: ``950``, ``41.7k``, ``3.21M``."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1e3:.1f}k" if number < 1_000_000 else f"{number / 1e6:.2f}M"


def count(number: int, noun: str, plural: str = "") -> str:
    """A number of things: ``1 job``, ``2,000 jobs``, ``3 retries``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
