# syntax=docker/dockerfile:1
# One image for the jobmanager, the taskmanagers, jobctl and the development tools; the command chooses.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make pkg-config libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --features connectors/kafka-ssl \
 && mkdir -p /out/bin \
 && cp target/release/jobmanager target/release/taskmanager target/release/jobctl target/release/localcluster /out/bin/

FROM debian:12-slim AS run
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home gapwise \
 && install --directory --owner gapwise --mode 0700 /var/lib/gapwise/checkpoints
COPY --from=build /out/bin/ /usr/local/bin/
USER gapwise
# No default command: `jobmanager`, `taskmanager` or `jobctl`.
CMD ["jobctl", "--help"]
