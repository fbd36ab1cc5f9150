// What happened, as one line of JSON an event on standard output.

import { milliseconds } from './tidelog.js';

export function say(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

// A record's append time is its batch's.
export function sayRecord(partition, batch, record) {
  say('record', {
    partition,
    offset: record.offset,
    timestamp_ms: record.timestampMs ?? null,
    append_time_ms: milliseconds(batch.appendTime),
    key: record.key?.toString() ?? null,
    value: record.value?.toString() ?? null,
  });
}

// One row of an answer was refused; the call itself went well.
export function sayRowError(partition, { reason, outcome, retryable, message }) {
  say('row_error', { partition, reason, outcome, retryable, message });
}
