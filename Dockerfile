# Sealpost: mail that is always encrypted at rest. There is no build step: Node runs the TypeScript.
# NODE_IMAGE may be any image with Node 24.21 or newer, npm and Debian's useradd.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY scripts/node-runtime scripts/node-runtime
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE}
RUN groupadd --gid 10001 sealpost \
 && useradd --uid 10001 --gid sealpost --no-create-home --home-dir /data --shell /usr/sbin/nologin sealpost \
 && install -d -o sealpost -g sealpost -m 0700 /data
# UV_THREADPOOL_SIZE: password checks and fsync share these threads. MALLOC_ARENA_MAX: else freed message
# buffers stay spread over one arena a thread.
ENV NODE_ENV=production \
    UV_THREADPOOL_SIZE=16 \
    MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY migrations migrations
COPY src src
COPY config/container.toml /etc/sealpost/sealpost.toml
USER 10001:10001
VOLUME /data
# SMTP, submission with STARTTLS, submission under TLS, IMAP with STARTTLS, IMAP under TLS
EXPOSE 2525 2587 2465 1143 1993
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["node", "src/main.ts", "status", "--config", "/etc/sealpost/sealpost.toml"]
# --disable-sigusr1: no signal opens a debugger in a process that holds keys.
# --max-semi-space-size: buffers that are done with are freed sooner (src/decisions.md).
ENTRYPOINT ["node", "--disable-sigusr1", "--max-semi-space-size=4", "src/main.ts"]
CMD ["serve", "--config", "/etc/sealpost/sealpost.toml"]
