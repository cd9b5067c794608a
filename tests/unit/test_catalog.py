"""Price: worked figures of Google's price list."""

from __future__ import annotations

import pytest

from promptyard.catalog import LongContextPrice, Price
from promptyard.job import Usage

FLASH = Price(input=0.30, output=2.50, cached_input=0.03)
PRO = Price(
    input=1.25,
    output=10.00,
    cached_input=0.125,
    long_context=LongContextPrice(
        above_tokens=200_000, input=2.50, output=15.00, cached_input=0.25
    ),
)


@pytest.mark.parametrize(
    ("price", "usage", "usd"),
    [
        (FLASH, Usage(), 0.0),
        # 1,000 in and 500 out: 0.0003 + 0.00125
        (FLASH, Usage(prompt_tokens=1000, output_tokens=500), 0.00155),
        # thinking is output: 0.0003 + (500 + 1,500) x 2.50 / 1M
        (FLASH, Usage(prompt_tokens=1000, output_tokens=500, thinking_tokens=1500), 0.0053),
        # 800 of 1,000 from the cache: 200 x 0.30 + 800 x 0.03
        (FLASH, Usage(prompt_tokens=1000, cached_tokens=800), 0.000084),
        # the bound itself is still short: 0.25
        (PRO, Usage(prompt_tokens=200_000), 0.25),
        # one more is long, output too: 200,001 x 2.50 + 1,000 x 15
        (PRO, Usage(prompt_tokens=200_001, output_tokens=1000), 0.5150025),
        # long and cached: 100,000 x 2.50 + 200,000 x 0.25
        (PRO, Usage(prompt_tokens=300_000, cached_tokens=200_000), 0.30),
    ],
)
def test_worked_figures(price: Price, usage: Usage, usd: float) -> None:
    """To a billionth of a dollar."""
    assert price.cost_usd(usage) == pytest.approx(usd, abs=1e-9)
