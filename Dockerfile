# Promptyard's images: `producer` (the light client and its command line) and `worker` (all else).
# What runs has no compiler, no pip, no root; versions are those of constraints.txt.
# the version that the tests run with; every pinned package has wheels for 3.12 and 3.13 too
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/promptyard
COPY constraints.txt pyproject.toml README.md LICENSE router.yaml router.fit.npz ./
COPY examples examples
COPY producer producer
COPY worker worker

FROM build AS build-producer
RUN pip --python /opt/promptyard/bin/python install -c constraints.txt .

FROM build AS build-worker
RUN pip --python /opt/promptyard/bin/python install -c constraints.txt '.[worker,flower]'

FROM python:${PYTHON}-slim AS base
RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip \
 && useradd --create-home --uid 10001 yard
# by number, so that Kubernetes can see that it is not root
USER 10001
WORKDIR /home/yard
ENV PATH=/opt/promptyard/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PROMPTYARD_HOME=/home/yard/.promptyard

FROM base AS producer
COPY --from=build-producer /opt/promptyard /opt/promptyard
ENTRYPOINT ["promptyard"]
CMD ["--help"]

FROM base AS worker
COPY --from=build-worker /opt/promptyard /opt/promptyard
# asks for the worker's card in Redis, which must be fresh
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
  CMD ["promptyard", "healthcheck"]
ENTRYPOINT ["promptyard"]
CMD ["worker", "classify", "pro", "flash", "lite"]
