# A Kafka client for the network of the containers: kcat, which is librdkafka.
ARG BASE=debian:trixie-slim
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends kcat \
 && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["kcat"]
