// Append the lines of standard input, each once, however often an answer is lost.

import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { say, sayRowError } from './events.js';
import { refusalOf, statusOf } from './refusal.js';
import { call, milliseconds } from './tidelog.js';

const LINES_PER_REQUEST = 60;
const PAUSE_MS = 200;
const ATTEMPTS_MAX = 50;
const LINE = /^(\d+)\t(-?\d+)\t([^\t]*)\t([^\t]*)$/;
const SEQUENCES = 2 ** 31; // a sequence is 31 bits wide; after the last one comes 0

// Send lines of `PARTITION TIME_MS KEY VALUE`, with tabs between, one request at a time.
export async function produce({ log }, topic) {
  // Asked for twice it is another producer: nothing is lost by that.
  const { response } = await untilAnswered(log, 'initProducer', {});
  const { producer } = response;
  say('producer', producer);
  const sequences = new Map(); // of the next record, for each partition
  for await (const lines of inRuns(createInterface({ input: process.stdin }), LINES_PER_REQUEST)) {
    const request = stamped(topic, lines, producer, sequences);
    const { response, attempts } = await untilAnswered(log, 'produce', request);
    request.batches.forEach(({ partition, records }, row) => {
      const result = response.results[row];
      if (result.error) {
        sayRowError(partition, result.error);
        process.exit(1);
      }
      say('produced', {
        partition: result.partition,
        base_offset: result.baseOffset,
        records: records.length,
        append_time_ms: milliseconds(result.appendTime),
        duplicate: result.duplicate,
        attempts,
      });
    });
  }
}

async function* inRuns(lines, size) {
  let run = [];
  for await (const line of lines) {
    if (run.push(line) === size) {
      yield run;
      run = [];
    }
  }
  if (run.length) yield run;
}

// A request with a batch for each partition; its stamps make it safe to repeat.
function stamped(topic, lines, producer, sequences) {
  const batches = new Map();
  for (const line of lines) {
    const { partition, record } = parsed(line);
    if (!batches.has(partition)) {
      const baseSequence = (sequences.get(partition) ?? 0) % SEQUENCES;
      const stamp = { producer, baseSequence };
      batches.set(partition, { topic, partition, records: [], producer: stamp });
    }
    batches.get(partition).records.push(record);
  }
  for (const { partition, records } of batches.values()) {
    sequences.set(partition, (sequences.get(partition) ?? 0) + records.length);
  }
  return { acks: 'ACKS_ALL', batches: [...batches.values()] };
}

// The partition and the record of a line; one that has none ends the program.
export function parsed(line) {
  const [partition, timeMs, key, value] = LINE.exec(line)?.slice(1) ?? [];
  if (!(Number(partition) < 2 ** 31 && Number.isSafeInteger(Number(timeMs)))) {
    console.error(`not PARTITION TIME_MS KEY VALUE: ${JSON.stringify(line)}`);
    process.exit(2);
  }
  const record = { timestampMs: Number(timeMs), key: Buffer.from(key), value: Buffer.from(value) };
  return { partition: Number(partition), record };
}

// Send the very same request until there is an answer that a repetition would not change.
//
// A stamped batch that the log has already is answered with its first offset and `duplicate`: so a
// lost answer, an expired deadline and a row that may succeed later are all repeated.
async function untilAnswered(client, method, request) {
  for (let attempts = 1; attempts <= ATTEMPTS_MAX; attempts += 1) {
    try {
      const response = await call(client, method, request);
      const waits = response.results?.find(({ error }) => error?.retryable);
      if (!waits) return { response, attempts };
      say('retry', { status: 'OK', reason: waits.error.reason });
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal && !refusal.retryable && refusal.outcome !== 'UNKNOWN') throw error;
      say('retry', { status: statusOf(error), reason: refusal?.reason ?? null });
    }
    await pause(PAUSE_MS);
  }
  throw new Error(`no answer after ${ATTEMPTS_MAX} attempts`);
}
