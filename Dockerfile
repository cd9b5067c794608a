# Promptyard's images: `producer` (the light client and its command line) and `worker` (all else).
# Build tools stay in the first stage; what runs has no compiler, no pip cache and no root.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
WORKDIR /src
RUN python -m venv /opt/promptyard
ENV PATH=/opt/promptyard/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt pyproject.toml README.md LICENSE router.yaml router.fit.npz ./
COPY examples examples
COPY producer producer
COPY worker worker

FROM build AS build-producer
RUN pip install -c constraints.txt .

FROM build AS build-worker
RUN pip install -c constraints.txt '.[worker,flower]'

FROM python:${PYTHON}-slim AS base
RUN useradd --create-home --uid 10001 yard
USER yard
WORKDIR /home/yard
ENV PATH=/opt/promptyard/bin:$PATH PYTHONUNBUFFERED=1 PROMPTYARD_HOME=/home/yard/.promptyard

FROM base AS producer
COPY --from=build-producer /opt/promptyard /opt/promptyard
ENTRYPOINT ["promptyard"]
CMD ["--help"]

FROM base AS worker
COPY --from=build-worker /opt/promptyard /opt/promptyard
# asks the worker itself: its card in Redis must be fresh
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
  CMD ["promptyard", "healthcheck"]
ENTRYPOINT ["promptyard"]
CMD ["worker", "classify", "pro", "flash", "lite"]
