"""Credentials: which variables count, in which order."""

from __future__ import annotations

import asyncio

import pytest

from promptyard.errors import SettingsError
from promptyard_worker.gemini import Credentials, GeminiClient


def test_a_key_comes_first() -> None:
    """And GOOGLE_API_KEY before GEMINI_API_KEY, as in the SDK."""
    env = {"GEMINI_API_KEY": "a", "GOOGLE_CLOUD_PROJECT": "p"}
    assert Credentials.from_env(env) == Credentials(api_key="a")
    assert Credentials.from_env({**env, "GOOGLE_API_KEY": "b"}).api_key == "b"


def test_a_project_means_vertex() -> None:
    """With the location of the environment, else the global one."""
    chosen = Credentials.from_env({"GOOGLE_CLOUD_PROJECT": "p"})
    assert chosen == Credentials(project="p", location="global", vertexai=True)
    env = {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "europe-west4"}
    assert Credentials.from_env(env).location == "europe-west4"


def test_the_sdks_switch_prefers_vertex() -> None:
    """GOOGLE_GENAI_USE_VERTEXAI with a key and a project means the project."""
    env = {
        "GEMINI_API_KEY": "a",
        "GOOGLE_CLOUD_PROJECT": "p",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
    }
    assert Credentials.from_env(env).project == "p"


def test_nothing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variables, at construction."""
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="set GEMINI_API_KEY"):
        GeminiClient(concurrency=1)


def test_a_vertex_client_opens_without_a_call() -> None:
    """Google's login is asked for at the first call, not at the start."""

    async def main() -> None:
        vertex = Credentials(project="p", location="global", vertexai=True)
        client = GeminiClient(concurrency=1, credentials=vertex)
        await client.open()
        await client.open()
        await client.close()
        await client.close()

    asyncio.run(main())


def test_the_key_is_never_printed() -> None:
    """Not even by repr."""
    assert "secret" not in repr(Credentials(api_key="secret"))
