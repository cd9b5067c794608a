"""The stand-in without HTTP: a call and its body in, a reply out.

A call climbs ``reply -> authorise -> read -> admit -> play -> answer``; each rung may refuse.
It takes no time here: the reply says how long to wait before it is sent.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from promptyard_worker.sim import embedding
from promptyard_worker.sim.answer import Answer, compose, pieces, response, usage_of
from promptyard_worker.sim.call import EVENT_STREAM, JSON, Call, Reply
from promptyard_worker.sim.config import SimConfig, limit_of
from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.directive import Directive
from promptyard_worker.sim.fault import ANSWER_FAULTS, STATUS_FAULTS, Fault, FaultRates
from promptyard_worker.sim.generation import read_generation, think
from promptyard_worker.sim.ledger import Ledger
from promptyard_worker.sim.profile import ModelProfile, profile_of
from promptyard_worker.sim.prompt import Prompt, read_prompt
from promptyard_worker.sim.quota import ModelQuota, played_refusal, quota_refusal
from promptyard_worker.sim.refusal import (
    JsonObject,
    Refusal,
    bad_key,
    error_body,
    fault_refusal,
    invalid,
    no_key,
    no_model,
    no_permission,
    no_publisher_model,
)
from promptyard_worker.sim.route import EMBED_METHODS, GENERATE_METHODS, Route

#: Median latency of an error answer.
ERROR_LATENCY_S: Final = 0.08
#: What share of a streamed answer's latency passes before its first chunk.
_FIRST_CHUNK: Final = 0.6

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_bytes(body: JsonObject) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which JSON can smuggle in, becomes ``?``."""
    return _encode(body).encode("utf-8", "replace")


class Engine:
    """Answers calls; not thread-safe, one event loop owns it."""

    def __init__(
        self,
        config: SimConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = config
        self.ledger = Ledger(clock=clock)
        self._clock = clock
        self._now = now
        self._profiles = {name: profile_of(name) for name in config.models}
        self._quotas = {
            name: ModelQuota(
                rpm=limit_of(config.rpm, name),
                tpm=limit_of(config.tpm, name),
                rpd=limit_of(config.rpd, name),
                clock=now,
            )
            for name in config.models
        }
        self._rates = FaultRates(config.faults, config.seed)
        self._lot = random.Random(config.seed)  # noqa: S311 - latencies, not secrets
        #: Turns of prompts with a plan of faults, and of embedding requests.
        self._turns: dict[bytes, int] = {}

    @property
    def profiles(self) -> dict[str, ModelProfile]:
        """The models served, by name."""
        return self._profiles

    def reset(self) -> None:
        """All counters and plans start anew; quotas go on, as Google's would."""
        self.ledger.reset()
        self._turns.clear()

    def open(self, route: Route, *, sse: bool) -> Call:
        """Count a call whose headers have arrived."""
        profile = self._profiles.get(route.model or "")
        tally = self.ledger.tally("unknown" if profile is None else profile.name)
        self.ledger.arrive(tally, route.method or "")
        return Call(route, profile, tally, sse)

    def reply(self, call: Call, body: bytes, key: str | None = None) -> Reply:
        """The reply to a call.

        Args:
            call: what :meth:`open` gave.
            body: the whole request body.
            key: the API key the client sent; only looked at if one is configured.
        """
        try:
            profile = self._authorise(call, key)
            request = _read_json(body)
            method = call.route.method
            if method in GENERATE_METHODS:
                return self._generate(call, profile, request)
            if method in EMBED_METHODS:
                return self._embed(call, profile, request)
            return self._count_tokens(request)
        except Refusal as refusal:
            if refusal.limit is not None:
                self.ledger.rate_limited[refusal.limit] += 1
            latency_s = self._error_latency()
            return Reply(refusal.status, (to_bytes(refusal.body),), latency_s)

    def _authorise(self, call: Call, key: str | None) -> ModelProfile:
        """The key first, then the model, as the real API asks."""
        route = call.route
        if self.config.api_key is not None and key != self.config.api_key:
            raise bad_key(vertex=route.vertex) if key else no_key(vertex=route.vertex)
        profile, method = call.profile, route.method or ""
        if profile is not None and (method == "countTokens" or _fits(profile, route)):
            return profile
        if route.vertex:
            raise no_publisher_model(route.resource)
        raise no_model(route.model or "", route.version, method)

    def _generate(self, call: Call, profile: ModelProfile, request: JsonObject) -> Reply:
        prompt = read_prompt(request)
        call.key = prompt.key
        turn = self.ledger.name_prompt(prompt.key)
        wanted = read_generation(request)
        thoughts = think(profile, wanted, Dice(int.from_bytes(prompt.key, "big")), prompt.tokens)
        self._admit(call, profile, 1, prompt.tokens)
        fault = self._fault_of(prompt, turn)
        if reply := self._play(call.route, fault, prompt.order):
            return reply
        answer = compose(profile, prompt, wanted, thoughts, fault)
        usage = usage_of(prompt, answer)
        self._count_usage(usage)
        body = response(profile, usage, answer, f"sim-{prompt.key.hex()}-{turn}")
        latency_s = self._latency(profile, answer, prompt)
        succeeded = answer.text is not None and fault is None
        if call.route.method == "streamGenerateContent":
            return _stream(body, latency_s, sse=call.sse, succeeded=succeeded)
        return Reply(200, (to_bytes(body),), latency_s, succeeded=succeeded)

    def _embed(self, call: Call, profile: ModelProfile, request: JsonObject) -> Reply:
        method = call.route.method or ""
        texts, dimensions = embedding.read_requests(request, method)
        counts = embedding.count_tokens(profile, texts)
        tokens = sum(counts)
        # Each text of a batch counts as a request, as the real quota has it.
        self._admit(call, profile, len(texts), tokens)
        if self.config.faults:
            key = sha256("".join(texts).encode("utf-8", "surrogatepass")).digest()[:8]
            fault = self._rates.draw(key, self._next_turn(b"embed" + key))
            if fault not in ANSWER_FAULTS and (reply := self._play(call.route, fault, Directive())):
                return reply
        self.ledger.texts_embedded += len(texts)
        self.ledger.tokens["embedded"] += tokens
        body = embedding.embed_body(method, texts, dimensions, counts)
        return Reply(200, (body.encode(),), self._latency(profile, Answer(None), None))

    def _count_tokens(self, request: JsonObject) -> Reply:
        inner = request.get("generateContentRequest") or request.get("generate_content_request")
        prompt = read_prompt(inner if isinstance(inner, dict) else request, "CountTokensRequest")
        details = [{"modality": "TEXT", "tokenCount": prompt.tokens}]
        body = {"totalTokens": prompt.tokens, "promptTokensDetails": details}
        return Reply(200, (to_bytes(body),), self._error_latency())

    def _admit(self, call: Call, profile: ModelProfile, requests: int, tokens: int) -> None:
        """Let the call past context window, concurrency and quota, or refuse it."""
        window = limit_of(self.config.context_tokens, profile.name)
        window = profile.input_token_limit if window is None else window
        if tokens > window and not profile.embeds:
            raise invalid(
                f"The input token count ({tokens}) exceeds the maximum number of tokens "
                f"allowed ({window})."
            )
        most = limit_of(self.config.max_concurrency, profile.name)
        if most is not None and call.tally.running >= most:
            message = "Resource has been exhausted (e.g. check quota)."
            raise Refusal(429, error_body(429, message), limit="concurrency")
        found = self._quotas[profile.name].admit(self._clock(), requests, tokens)
        if found:
            raise quota_refusal(
                profile.name, found, embeds=profile.embeds, vertex=call.route.vertex
            )
        call.admitted = True
        self.ledger.meter(call.tally, requests, tokens)

    def _fault_of(self, prompt: Prompt, turn: int) -> Fault | None:
        """The fault the prompt asks for; a prompt that asks for none has the drawn ones."""
        if prompt.order.plan:
            return prompt.order.fault_of(self._next_turn(prompt.key))
        return self._rates.draw(prompt.key, turn)

    def _play(self, route: Route, fault: Fault | None, order: Directive) -> Reply | None:
        """Refuse, hang or break off; None if the fault is one of the answer, or none."""
        if fault is None:
            return None
        self.ledger.faults[fault.value] += 1
        status = STATUS_FAULTS.get(fault)
        if status is not None:
            if status == 429 and (order.quota or order.retry_s is not None):
                raise played_refusal(route.model or "", order.quota, order.retry_s, self._now())
            if status == 403 and order.of_model:
                raise no_permission(route.resource, vertex=route.vertex)
            raise fault_refusal(status)
        if fault in (Fault.HANG, Fault.DISCONNECT):
            return Reply(0, latency_s=self._error_latency(), fault=fault)
        return None

    def _next_turn(self, key: bytes) -> int:
        turn = self._turns.get(key, 0) + 1
        self._turns[key] = turn
        return turn

    def _count_usage(self, usage: JsonObject) -> None:
        counted = self.ledger.tokens
        counted["prompt"] += usage["promptTokenCount"]
        counted["candidates"] += usage.get("candidatesTokenCount", 0)
        counted["thoughts"] += usage.get("thoughtsTokenCount", 0)
        counted["cached"] += usage.get("cachedContentTokenCount", 0)
        counted["total"] += usage["totalTokenCount"]

    def _latency(self, profile: ModelProfile, answer: Answer, prompt: Prompt | None) -> float:
        if prompt is not None and prompt.order.latency_s is not None:
            return prompt.order.latency_s
        scale = self.config.latency_scale
        if not scale:
            return 0.0
        median_s = profile.base_s + (answer.thoughts + answer.tokens) / profile.tokens_per_s
        return median_s * self._lot.lognormvariate(0.0, profile.sigma) * scale

    def _error_latency(self) -> float:
        scale = self.config.latency_scale
        return ERROR_LATENCY_S * self._lot.lognormvariate(0.0, 0.3) * scale if scale else 0.0


def _fits(profile: ModelProfile, route: Route) -> bool:
    """Whether the model has the method; only Vertex embeds by ``predict``."""
    if route.method == "predict":
        return profile.embeds and route.vertex
    return route.method in (EMBED_METHODS if profile.embeds else GENERATE_METHODS)


def _read_json(body: bytes) -> JsonObject:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    if not isinstance(request, dict):
        raise invalid(
            'Invalid JSON payload received. Unknown name "": Root element must be a message.'
        )
    return request


def _stream(body: JsonObject, latency_s: float, *, sse: bool, succeeded: bool) -> Reply:
    """Server-sent events, or the elements of one JSON array."""
    parts = [to_bytes(part) for part in pieces(body)]
    if sse:
        chunks = [b"data: " + part + b"\r\n\r\n" for part in parts]
    else:
        chunks = [(b"[" if index == 0 else b",\r\n") + part for index, part in enumerate(parts)]
        chunks[-1] += b"]"
    rest = len(chunks) - 1
    return Reply(
        200,
        tuple(chunks),
        latency_s * _FIRST_CHUNK if rest else latency_s,
        latency_s * (1 - _FIRST_CHUNK) / rest if rest else 0.0,
        EVENT_STREAM if sse else JSON,
        succeeded,
    )
