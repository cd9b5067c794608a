"""Asks HTTP servers of the tests: Flower, metrics."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


def get(url: str, *, user: str | None = None) -> tuple[int, str]:
    """Status and text; 0 if nobody listens. ``user`` is ``name:password``."""
    request = urllib.request.Request(url)
    if user is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def get_json(url: str, *, user: str | None = None) -> Any:
    """The answer, which must be one."""
    status, text = get(url, user=user)
    assert status == 200, f"{url}: {status} {text}"
    return json.loads(text)


def scrape(url: str, *by: str) -> Counter[tuple[str, ...]]:
    """Sum of every series by its name and the labels ``by``."""
    status, text = get(url)
    assert status == 200, f"{url}: {status} {text}"
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *(sample.labels.get(label, "") for label in by))
            found[key] += sample.value  # type: ignore[assignment]
    return found
