# Sealgate without a compiler and without root. The HSM vendor's PKCS#11 module is mounted or added in an image
# built on this one; it needs a glibc system, hence Debian.
ARG NODE_VERSION=24

FROM node:${NODE_VERSION}-bookworm AS build
WORKDIR /app
# The image has Node's own headers: node-gyp need not download them.
ENV npm_config_nodedir=/usr/local
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY binding.gyp tsconfig.json tsconfig.build.json ./
COPY dev ./dev
COPY src ./src
RUN npm run build
RUN npm prune --omit=dev --no-audit --no-fund

FROM node:${NODE_VERSION}-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/build/Release/sealgate.node ./build/Release/sealgate.node
COPY --from=build /app/build/Release/sign_load.node ./build/Release/sign_load.node
COPY --from=build /app/dist ./dist
USER node
EXPOSE 443
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["node", "-e", "fetch('http://127.0.0.1:9901/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["run", "--config", "/etc/sealgate/sealgate.yaml"]
