// Send a whole group to a moment, also while its members are at work.

import { say, sayRowError } from './events.js';
import { CLOCKS } from './read.js';
import { call, timestamp } from './tidelog.js';

// Print the plan, carry it out, and print what was done. It is done in all partitions or in none.
// Members are fenced by it and join anew by themselves.
export async function seek({ groups }, group, topic, clock, timeMs) {
  const request = {
    group,
    topics: [topic],
    seek: { time: timestamp(timeMs), clock: CLOCKS[clock] },
    force: true,
  };
  sayChanges('planned', await call(groups, 'seekOffsets', { ...request, validateOnly: true }));
  const done = await call(groups, 'seekOffsets', request);
  sayChanges('sought', done);
  say('seek', { group_epoch: done.groupEpoch, member_count: done.memberCount });
}

function sayChanges(event, { changes }) {
  for (const { partition, error, before = null, after, ...more } of changes) {
    if (error) {
      sayRowError(partition.partition, error);
      continue;
    }
    const { redelivered, skipped, truncated } = more;
    const row = { partition: partition.partition, before, after, redelivered, skipped, truncated };
    say(event, row);
  }
}
