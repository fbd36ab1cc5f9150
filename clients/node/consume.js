// Be a member of a group: at least once, through broken connections and seeks.

import { setTimeout as pause } from 'node:timers/promises';
import { say, sayRecord, sayRowError } from './events.js';
import { refusalOf, statusOf } from './refusal.js';

const HEARTBEAT_MS = 2_000; // something at least every third of the session timeout, 8 s
const SILENCE_MS = 15_000; // the node says something every 5 s; here nobody is at the other end
const RESUME_S = 10; // how long the node keeps our place while we are cut off
const PAUSE_MS = 200;
const CREDIT = { records: 100, bytes: 1 << 20 }; // on its way to us at most; given back as we finish
// The group has moved on without us, or was sent elsewhere: join anew.
const LOST_PLACE = new Set(['UNKNOWN_MEMBER', 'STALE_MEMBER_EPOCH']);

// One member, over as many streams as its life takes.
export class Member {
  #groups;
  #group;
  #topic;
  #membership = null;
  #places = new Map(); // partition -> cursor behind what we have finished
  #commits = new Map(); // correlation id -> cursors, sent and not yet answered
  #number = 0;
  #stream = null;
  #leaving = false;

  constructor({ groups }, group, topic) {
    this.#groups = groups;
    this.#group = group;
    this.#topic = topic;
  }

  // Join, work, and come back after every break, until told to leave. Told so while it is cut off, it
  // does not come back: its place ends with the resume timeout.
  async live() {
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => this.#leave());
    while (!this.#leaving) {
      try {
        await this.#session();
        say('left');
        return;
      } catch (error) {
        this.#broken(error);
      }
      await pause(PAUSE_MS);
    }
  }

  // Join or resume, and hear one stream to its end.
  async #session() {
    this.#commits.clear(); // nobody will answer what the last stream sent
    const stream = this.#groups.consume();
    this.#stream = stream;
    stream.write({ join: this.#join() });
    const heartbeat = setInterval(() => stream.write({ heartbeat: {} }), HEARTBEAT_MS);
    const silence = setTimeout(() => stream.cancel(), SILENCE_MS);
    try {
      for await (const response of stream) {
        silence.refresh();
        this.#hear(response);
      }
    } finally {
      clearInterval(heartbeat);
      clearTimeout(silence);
      this.#stream = null;
    }
  }

  // The first message: a new member, or the one that we were, where we were.
  #join() {
    return {
      group: this.#group,
      topics: [this.#topic],
      credit: CREDIT,
      resumeTimeout: { seconds: RESUME_S },
      ...(this.#membership && { member: this.#membership, cursors: [...this.#places.values()] }),
    };
  }

  // Give everything back and go.
  #leave() {
    this.#leaving = true;
    this.#stream?.write({ leave: {} });
    this.#stream?.end();
  }

  // Decide how to come back: as who we were, or anew.
  #broken(error) {
    const refusal = refusalOf(error);
    if (error.code === undefined) throw error; // not a call's: our own mistake
    if (!refusal || refusal.retryable) {
      // The connection broke, or the node is stopping.
      say('cut', { status: statusOf(error), reason: refusal?.reason ?? null });
    } else if (LOST_PLACE.has(refusal.reason)) {
      say('fenced', { status: statusOf(error), reason: refusal.reason });
      this.#membership = null;
      this.#places.clear();
    } else {
      throw error;
    }
  }

  #hear(response) {
    switch (response.event) {
      case 'joined': {
        this.#membership = response.joined.member;
        const { memberId, memberEpoch } = this.#membership;
        say('joined', { member_id: memberId, member_epoch: memberEpoch });
        break;
      }
      case 'assigned':
        for (const cursor of response.assigned.cursors) {
          this.#places.set(cursor.partition, cursor);
          say('assigned', { partition: cursor.partition, offset: cursor.offset });
        }
        break;
      case 'revoke':
        this.#handOver(response.revoke.partitions);
        break;
      case 'records':
        if (!this.#leaving) this.#work(response.records.partitions);
        break;
      case 'committed':
        this.#noteCommit(response.committed);
        break;
      case 'caughtUp':
        say('caught_up');
        break;
      case 'gap':
        say('gap', { expected: response.gap.expectedOffset, next: response.gap.nextOffset });
        break;
      default: // heartbeats, and what a later version may add
    }
  }

  // Do the work first, then commit it: a record may come twice, but none is lost.
  #work(steps) {
    const credit = { records: 0, bytes: 0 };
    const finished = [];
    for (const { next, batches } of steps) {
      for (const batch of batches) {
        for (const record of batch.records) {
          sayRecord(next.partition, batch, record);
          credit.bytes += sizeAtMost(record);
        }
        credit.records += batch.records.length;
      }
      this.#places.set(next.partition, next);
      if (batches.length) finished.push(next);
    }
    if (finished.length) {
      this.#commit(finished);
      this.#stream.write({ credit });
    }
  }

  #commit(cursors) {
    this.#number += 1;
    this.#commits.set(this.#number, cursors);
    this.#stream.write({ commit: { correlationId: this.#number, cursors } });
  }

  // Print what became of a commit; rows come in the order of its cursors.
  #noteCommit({ correlationId, results }) {
    const cursors = this.#commits.get(correlationId);
    this.#commits.delete(correlationId);
    cursors.forEach(({ partition, offset }, row) => {
      const { error } = results[row];
      if (error) sayRowError(partition, error);
      else say('committed', { partition, offset });
    });
  }

  // Give partitions back. What we have finished of them is committed before, in order.
  #handOver(partitions) {
    for (const { partition } of partitions) {
      this.#places.delete(partition);
      say('revoked', { partition });
    }
    this.#stream.write({ revoked: { partitions } });
  }
}

// Bytes of credit that a record took, or a little more: proto-loader does not tell the size. Less
// would dry up the stream. More lets a little more come each time: what holds the node back here is
// the count of records, which is exact.
function sizeAtMost({ key, value, headers }) {
  const named = headers.map((header) => [Buffer.from(header.key), header.value]).flat();
  return [key, value, ...named].reduce((sum, bytes) => sum + (bytes?.length ?? 0) + 8, 64);
}
