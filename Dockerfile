# The one binary, built from source, in an image with nothing else to run it.
FROM rust:1-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p cli

FROM debian:bookworm-slim
COPY --from=build /source/target/release/batchless /usr/local/bin/batchless
RUN useradd --create-home batchless && install -d -o batchless /inbox /data
USER batchless
VOLUME ["/inbox", "/data"]
# Told to stop, it ends the work in hand first.
STOPSIGNAL SIGTERM
ENTRYPOINT ["batchless"]
CMD ["--help"]
