"""The baseline: one Celery task a prompt, as Celery's and google-genai's guides show it."""

from __future__ import annotations

import os

from celery import Celery
from google import genai

app = Celery("baseline_app", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


#: One client a process: cheaper than one a call.
client = genai.Client()


@app.task(autoretry_for=(Exception,), retry_backoff=True, retry_kwargs={"max_retries": 5})
def generate(prompt: str) -> str | None:
    """Call the model; the result backend keeps the text."""
    answer = client.models.generate_content(model="gemini-2.5-flash-lite", contents=prompt)
    return answer.text
