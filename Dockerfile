# The image of every projector process: worker, migrate, status. Settings come from the environment.
#   docker build -t order-projector --build-arg VERSION=… --build-arg REVISION=… .
#   docker run --rm order-projector --help

FROM python:3.13-slim AS builder

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

# The environment that the final image gets has no pip of its own; what builds the package never enters it.
RUN python -m venv --without-pip /app && python -m venv /build
WORKDIR /src

# Dependencies first: this layer changes only when they do. Nothing is installed whose hash isn't written down.
COPY requirements/ requirements/
RUN python -m pip --python /app/bin/python install --require-hashes --only-binary :all: -r requirements/run.txt
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements/dev.txt > build.txt \
    && /build/bin/python -m pip install --require-hashes --only-binary :all: -r build.txt

# Then the package alone.
COPY pyproject.toml README.md LICENSE ./
COPY schemas/ schemas/
COPY runtime/ runtime/
COPY consumer/ consumer/
COPY producer/ producer/
COPY api/ api/
COPY cli/ cli/
COPY testkit/ testkit/
RUN /build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && python -m pip --python /app/bin/python install --no-deps --no-index wheels/*.whl \
    && /app/bin/python -m compileall -q /app/lib


FROM python:3.13-slim

ARG VERSION=unknown
ARG REVISION=unknown

LABEL org.opencontainers.image.title="order-projector" \
      org.opencontainers.image.description="Kafka order events in, PostgreSQL read models out." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Both stages have the same Python at the same path, so the environment moves as it is.
COPY --from=builder /app /app

ENV PATH="/app/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# By number, so that an orchestrator can see that it isn't root. The process writes no files.
USER 10001:10001
WORKDIR /app

# A worker finishes the batch in hand on SIGTERM. Exec form: the signal reaches it, not a shell.
STOPSIGNAL SIGTERM
ENTRYPOINT ["projector"]
CMD ["--help"]
