# pushd in a container, without root. It listens on all addresses of the container, and so starts only with a
# configuration that has [auth], or with --open: see docs/operations.md.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev python3-dev python3-venv
COPY . /src
RUN python3 -m venv /opt/pushd && /opt/pushd/bin/pip install --no-cache-dir --require-hashes -r /src/constraints.txt
RUN /opt/pushd/bin/pip install --no-cache-dir --no-deps /src && /opt/pushd/bin/twistd --help >/dev/null

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/pushd --create-home pushd
COPY --from=build /opt/pushd /opt/pushd
ENV PATH=/opt/pushd/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
ENV PUSHD_HTTP_LISTEN=tcp:8080 PUSHD_TCP_LISTEN=tcp:8081 PUSHD_BACKEND_DATA_DIR=/var/lib/pushd
USER pushd
WORKDIR /var/lib/pushd
VOLUME /var/lib/pushd
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["pushctl", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["twistd", "-n", "--pidfile=", "pushd"]
