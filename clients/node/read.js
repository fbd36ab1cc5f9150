// Read exactly the records of a time range, on either clock.

import { say, sayRecord } from './events.js';
import { timestamp } from './tidelog.js';

export const CLOCKS = { event: 'CLOCK_EVENT', append: 'CLOCK_APPEND' };

// Print the records with start <= time < end; the call ends by itself.
export async function read({ log }, topic, clock, startMs, endMs) {
  const range = {
    clock: CLOCKS[clock],
    startTime: timestamp(startMs),
    endTime: timestamp(endMs),
  };
  let count = 0;
  for await (const response of log.subscribe({ topics: [topic], range })) {
    switch (response.event) {
      case 'records':
        for (const { next, batches } of response.records.partitions) {
          for (const batch of batches) {
            batch.records.forEach((record) => sayRecord(next.partition, batch, record));
            count += batch.records.length;
          }
        }
        break;
      case 'gap': // retention was faster
        say('gap', { expected: response.gap.expectedOffset, next: response.gap.nextOffset });
        break;
      default: // `opened` tells the bounds; `caughtUp` is of no interest here
    }
  }
  say('end', { records: count });
}
