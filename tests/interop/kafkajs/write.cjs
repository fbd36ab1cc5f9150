// kafkajs, for tests/interop/kafkajs_client.py: `node write.cjs BOOTSTRAP TOPIC CODEC` writes the
// records of stdin, a line each as tests/interop/told_lines.py describes it, to partition 0.
// kafkajs brings gzip; it leaves the other codecs to its user, who registers them as below. For lz4
// it takes a package that compresses each block by itself: Apache's client refuses other frames.

"use strict";

const { readFileSync } = require("node:fs");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
const lz4 = require("lz4-napi");
const snappy = require("snappyjs");
const zstd = require("@bokuweb/zstd-wasm");

const TYPES = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

function register(type, compress) {
  CompressionCodecs[type] = () => ({
    compress: async (encoder) => Buffer.from(await compress(encoder.buffer)),
    decompress: async () => {
      throw new Error("this program only writes");
    },
  });
}

register(TYPES.snappy, (bytes) => snappy.compress(bytes));
register(TYPES.lz4, (bytes) => lz4.compressFrame(bytes));
register(TYPES.zstd, async (bytes) => {
  await zstd.init();
  return zstd.compress(bytes, 3);
});

const field = (text) => (text === "-" ? null : Buffer.from(text.slice(1), "base64"));

function message(line) {
  const [key, value, timestamp, ...pairs] = line.split(" ");
  const headers = {};
  for (const pair of pairs) {
    const [name, text] = pair.split(":").map(field);
    (headers[name.toString()] ??= []).push(text);
  }
  return { partition: 0, key: field(key), value: field(value), timestamp, headers };
}

async function main(bootstrap, topic, codec) {
  const lines = readFileSync(0, "ascii").split("\n").filter(Boolean);
  const kafka = new Kafka({ brokers: [bootstrap], clientId: "interop", logLevel: logLevel.NOTHING });
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  await producer.send({ topic, acks: -1, compression: TYPES[codec], messages: lines.map(message) });
  await producer.disconnect();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
