# One node of Tidelog. `docker compose up -d --wait` starts three (compose.yaml); one alone:
#   docker build -t tidelog:local .
#   docker run -p 127.0.0.1:9095:9095 -e TIDELOG_SECURITY__MODE=open tidelog:local
# Debian and not Alpine: some of the wheels that a node needs are not made for musl.
#
# Packages come from where the base image has them from. For indexes or certificates of your own take
# a base that knows them: docker build --build-arg BASE=registry.example/debian:trixie
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# The compiler is for the one package without a wheel, which without it would be slow.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /source
# What builds comes by hash too, and stays behind in this stage.
COPY requirements/build.txt requirements/run.txt requirements/speed.txt requirements/
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
 && /opt/build/bin/pip wheel --wheel-dir /wheels --no-deps --no-build-isolation \
      --require-hashes --only-binary :all: --no-binary crcmod \
      -r requirements/run.txt -r requirements/speed.txt
COPY . .
RUN /opt/build/bin/pip wheel --wheel-dir /wheels --no-deps --no-build-isolation --no-index . \
 && python3 -m venv --without-pip /opt/venv \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-index --no-deps /wheels/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Tidelog" \
      org.opencontainers.image.description="A partitioned, replicated commit log with exact time travel." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/tidelog
COPY --from=build /opt/venv /opt/venv
# In a container "all addresses" are those of its own networks; who may come in is said by
# TIDELOG_SECURITY__MODE, without which a node that is reached from outside does not start.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TIDELOG_NODE__DATA_DIR=/var/lib/tidelog \
    TIDELOG_LISTENERS__KAFKA__BIND=0.0.0.0:9092 \
    TIDELOG_LISTENERS__PEER__BIND=0.0.0.0:9093 \
    TIDELOG_LISTENERS__GRPC__BIND=0.0.0.0:9095 \
    TIDELOG_LISTENERS__HTTP__BIND=0.0.0.0:8080
USER 10001:10001
VOLUME /var/lib/tidelog
EXPOSE 9092 9093 9095 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=20 \
  CMD ["tidelog", "check", "self"]
ENTRYPOINT ["tidelog"]
CMD ["serve"]
