#!/bin/sh
# Prints the cargo flag for TLS to Kafka that this machine can build, or nothing and, on stderr, what to install.
# librdkafka takes OpenSSL for it: the system's, found by pkg-config, or one compiled here, which needs a full perl
# (Debian's minimal one lacks the modules that OpenSSL's Configure loads).
set -eu

if [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null; then
    echo "--features connectors/kafka-ssl"
elif perl -MFindBin -MIPC::Cmd -MFile::Compare -MFile::Copy -MTime::Piece -e 1 2>/dev/null; then
    echo "--features connectors/kafka-ssl-vendored"
else
    echo "note: SASL_SSL to Kafka is not in this build; \`apt-get install libssl-dev pkg-config\` and build again to have it" >&2
fi
