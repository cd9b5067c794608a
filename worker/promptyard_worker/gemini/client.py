"""The one client of a worker process: one ``generate`` is one HTTP call.

Retries, fallbacks and quotas are the worker's: the SDK must do none. google-genai 3.4
repeats a call by itself in two places, both shut here:

* ``_api_client._async_request_once`` sleeps 1-10 s and sends again after an aiohttp
  connection error, unless the client's ``retry_options`` are truthy. The prompt may have
  been processed, so it would be paid twice. ``HttpRetryOptions(attempts=1)`` stops it.
* ``generate_content`` follows continuation tokens with further calls; ``request.py``
  switches it off.

aiohttp itself repeats only idempotent methods, and generateContent is a POST.
"""

from __future__ import annotations

import asyncio
import urllib.request
from types import TracebackType
from typing import Self

import aiohttp
from google import genai
from google.genai import types

from promptyard.job import Decision, Job
from promptyard_worker.gemini.answer import Answer, parse_answer
from promptyard_worker.gemini.credentials import Credentials
from promptyard_worker.gemini.request import build_request

#: How long an idle connection is kept, in seconds: long enough for a lull between two
#: batches, short enough that a call rarely meets a connection the server is closing.
KEEPALIVE_S = 60
#: How long a resolved address is trusted, in seconds (aiohttp's own default is 10).
DNS_CACHE_S = 60
#: As in the SDK's own session: answers come in few reads.
READ_BUFFER_BYTES = 4 * 1024 * 1024


class GeminiClient:
    """Calls Gemini from one asyncio loop; ``open`` it there, ``close`` it there."""

    def __init__(
        self,
        *,
        concurrency: int,
        credentials: Credentials | None = None,
        base_url: str | None = None,
    ) -> None:
        """Prepare a client; nothing is opened yet.

        Args:
            concurrency: most calls in flight, and most connections.
            credentials: None: from the environment.
            base_url: None: ``GOOGLE_GEMINI_BASE_URL`` (for Vertex AI
                ``GOOGLE_VERTEX_BASE_URL``), else Google's.

        Raises:
            SettingsError: no credentials, neither given nor in the environment.
        """
        self._concurrency = concurrency
        self._credentials = credentials or Credentials.from_env()
        self._base_url = base_url
        self._session: aiohttp.ClientSession | None = None
        self._client: genai.Client | None = None

    async def open(self) -> None:
        """Open the session on the running loop; does nothing if it is open."""
        if self._client is not None:
            return
        connector = aiohttp.TCPConnector(
            limit=self._concurrency, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=DNS_CACHE_S
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            trust_env=_has_proxy(),  # HTTPS_PROXY, as the SDK does
            read_bufsize=READ_BUFFER_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),  # the API sets none; saves CPU
        )
        try:
            self._client = self._new_client(self._session)
        except BaseException:
            await self._session.close()
            self._session = None
            raise

    async def close(self) -> None:
        """Close the connections; calls in flight fail. Does nothing if it is closed."""
        client, self._client = self._client, None
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if client is not None:
            await client.aio.aclose()
            client.close()

    async def __aenter__(self) -> Self:
        """Open."""
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    async def generate(
        self, job: Job, decision: Decision, *, model: str, timeout_s: float
    ) -> Answer:
        """Call a model once.

        Args:
            job: what to ask.
            decision: its thinking budget applies if ``model`` is the decision's model.
            model: the model to call (the decision's, or a fallback).
            timeout_s: seconds from now until the answer must be complete.

        Returns:
            The answer. One without usable text carries an ``error`` and is not raised,
            because it has been paid: its usage counts.

        Raises:
            Exception: whatever the SDK or aiohttp raise; ``classify_exception`` names it.
        """
        if self._client is None:
            raise RuntimeError("the Gemini client is not open: await open() first")
        request = build_request(job, decision, model=model, timeout_s=timeout_s)
        # The HTTP timeout is the same, but does not cover a token refresh of Vertex AI.
        async with asyncio.timeout(timeout_s):
            response = await self._client.aio.models.generate_content(
                model=request.model,
                contents=request.contents,
                config=request.config,
            )
        raw = response.sdk_http_response
        body = raw.body if raw is not None else None
        return parse_answer(body or "", expects_json=request.expects_json)

    def _new_client(self, session: aiohttp.ClientSession) -> genai.Client:
        credentials = self._credentials
        options = types.HttpOptions(
            base_url=self._base_url,
            aiohttp_client=session,
            # Truthy and one attempt: no retry of the SDK, neither tenacity's nor the
            # implicit one (see the module's docstring).
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        if credentials.project:
            return genai.Client(
                vertexai=True,
                project=credentials.project,
                location=credentials.location,
                http_options=options,
            )
        return genai.Client(
            vertexai=credentials.vertexai, api_key=credentials.api_key, http_options=options
        )


def _has_proxy() -> bool:
    """Whether the environment names a proxy; aiohttp would look it up on every request."""
    return bool(urllib.request.getproxies())
