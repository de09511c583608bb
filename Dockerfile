# syntax=docker/dockerfile:1
# One image for the jobmanager, the taskmanagers, jobctl and the development tools; the command chooses. It holds these programs and what
# they load, and nothing else: no shell. Nothing here is of one architecture: `docker buildx build --platform linux/amd64,linux/arm64 .`

FROM rust:1.95.0-slim-bookworm AS build
# What the base image has, without the components for contributors that rust-toolchain.toml asks for.
ENV RUSTUP_TOOLCHAIN=1.95.0
# hadolint ignore=DL3008 # Debian's stable release keeps only its newest build of a version.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make pkg-config libssl-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --features connectors/kafka-ssl -p connectors -p jobctl -p localcluster \
 && scripts/image-files target/release /image jobctl localcluster

FROM scratch
COPY --from=build /image /
# Once more for its owner: only what lies below a copied folder gets one.
COPY --from=build --chown=10001:10001 /image/var/lib /var/lib
ENV PATH=/usr/local/bin
USER 10001:10001
# No default process: `jobmanager`, `taskmanager` or `jobctl`.
CMD ["jobctl", "--help"]
