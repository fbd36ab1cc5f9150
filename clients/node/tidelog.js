// The services, made of the proto files when the program starts: nothing is generated.

import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));

// 64-bit numbers as numbers: offsets and milliseconds stay below 2^53 for longer than anyone needs.
const SHAPE = { includeDirs: [PROTO], longs: Number, enums: String, defaults: true, oneofs: true };

// Come back soon: a member's place is kept for seconds only. Messages hold up to 3 MiB of records.
const CHANNEL = {
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': 8 << 20,
};

export function connect(address) {
  const files = ['log_service', 'group_service', 'topic_service'].map(
    (name) => `tidelog/v1/${name}.proto`,
  );
  const { v1 } = grpc.loadPackageDefinition(loader.loadSync(files, SHAPE)).tidelog;
  const plaintext = grpc.credentials.createInsecure();
  return {
    log: new v1.LogService(address, plaintext, CHANNEL),
    groups: new v1.ConsumerGroupService(address, plaintext, CHANNEL),
    topics: new v1.TopicService(address, plaintext, CHANNEL),
  };
}

// Call a method that has one answer.
export function call(client, method, request, { seconds = 10 } = {}) {
  const deadline = Date.now() + seconds * 1_000;
  return new Promise((resolve, reject) => {
    client[method](request, { deadline }, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

export function timestamp(timeMs) {
  const rest = ((timeMs % 1_000) + 1_000) % 1_000; // nanos never fall below 0
  return { seconds: (timeMs - rest) / 1_000, nanos: rest * 1_000_000 };
}

export function milliseconds({ seconds, nanos }) {
  return seconds * 1_000 + Math.floor(nanos / 1_000_000);
}
