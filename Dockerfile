# The image: one static binary and the certificate authorities it trusts, on nothing.
#   docker build -t incident-gateway .
#   docker build -t incident-gateway --build-arg REVISION="$(git rev-parse HEAD)" .
# Builds with BuildKit and with the classic builder, for whatever platform the build stage runs on.

FROM rust:1-slim-bookworm AS build

# A target named outright keeps crt-static away from build scripts and procedural macros, which must
# stay dynamic. The getrandom setting asks the kernel itself; otherwise a static glibc makes the
# crate look for /dev/random.
RUN mkdir /.cargo \
 && printf '[build]\ntarget = "%s"\nrustflags = ["-Ctarget-feature=+crt-static", "--cfg=getrandom_backend=\\"linux_getrandom\\""]\n' \
      "$(rustc -vV | sed -n 's/^host: //p')" > /.cargo/config.toml

# What the binary needs of a file system. Without nsswitch.conf, glibc asks DNS before /etc/hosts,
# and `--add-host` or `hostAliases` would do nothing.
RUN mkdir -p /rootfs/etc/ssl/certs \
 && cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ \
 && printf 'hosts: files dns\n' > /rootfs/etc/nsswitch.conf

# Where a volume with the SQLite store is mounted; a new named volume gets its owner.
RUN mkdir /history

# The dependencies, in a layer that only Cargo.toml and Cargo.lock invalidate: built for an empty
# program. Cargo wants the benches that Cargo.toml names to be there, though it does not build them.
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
 && for bench in $(sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/\1/p' Cargo.toml); do touch "benches/$bench.rs"; done \
 && cargo build --release --locked

COPY . .
ARG REVISION=unknown
# `touch`: the real sources are older than the empty program's build, and cargo would take them for
# unchanged.
RUN touch src/lib.rs src/main.rs \
 && INCIDENT_GATEWAY_REVISION="$REVISION" cargo build --release --locked \
 && cp target/*/release/incident-gateway /rootfs/

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="incident-gateway" \
      org.opencontainers.image.description="One fast, honest document of security incidents by employee, from many slow sources" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /rootfs /
COPY --from=build --chown=65532:65532 /history /var/lib/incident-gateway
# Numeric, because there is no /etc/passwd, and because Kubernetes can only prove a number to be
# non-root.
USER 65532:65532
EXPOSE 9000 9001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/incident-gateway", "healthcheck"]
ENTRYPOINT ["/incident-gateway"]
CMD ["serve"]
