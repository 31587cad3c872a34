# The one binary, built from source, in an image with nothing else to run it.
FROM rust:1.95.0-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p cli

# The same Debian as above: the binary needs its libc, libm and libgcc_s and no more. Kafka's client,
# OpenSSL, zlib and SQLite are compiled in.
FROM debian:12.12-slim
# Whom TLS trusts unless the configuration says otherwise.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /source/target/release/batchless /usr/local/bin/batchless
# Only of use where log or store is embedded (BATCHLESS_DATA=/data).
RUN install -d -o 10001 -g 10001 -m 0700 /data
VOLUME /data
USER 10001:10001
# Told to stop, it ends the work in hand first.
STOPSIGNAL SIGTERM
ENTRYPOINT ["batchless"]
CMD ["--help"]
