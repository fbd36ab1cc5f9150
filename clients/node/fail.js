// Fail in both ways: one row of an answer, and a whole call.

import { say, sayRowError } from './events.js';
import { sayError } from './refusal.js';
import { call } from './tidelog.js';

const NO_SUCH_PARTITION = 99;

// Append to three partitions, one of which does not exist; describe a topic that does not.
export async function fail(services, topic) {
  await oneRow(services, topic);
  await wholeCall(services, `${topic}-that-does-not-exist`);
}

// A call that goes well tells of each batch by itself: look at every row.
async function oneRow({ log }, topic) {
  const batches = [0, NO_SUCH_PARTITION, 1].map((partition) => ({
    topic,
    partition,
    records: [{ value: Buffer.from(`for partition ${partition}`) }],
  }));
  const { results } = await call(log, 'produce', { batches });
  results.forEach(({ error, partition, baseOffset }, row) => {
    if (error) sayRowError(batches[row].partition, error);
    else say('row', { partition, base_offset: baseOffset });
  });
}

// A call that fails carries an ErrorInfo in its status: decide by it, not by the text.
async function wholeCall({ topics }, name) {
  try {
    await call(topics, 'getTopic', { name });
  } catch (error) {
    sayError(error);
  }
}
