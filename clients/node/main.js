// A client of Tidelog, from its proto files alone. README.md beside this file says how to run it.

import { Member } from './consume.js';
import { fail } from './fail.js';
import { produce } from './produce.js';
import { CLOCKS, read } from './read.js';
import { sayError } from './refusal.js';
import { seek } from './seek.js';
import { connect } from './tidelog.js';

const USAGE = `usage: node main.js ADDRESS COMMAND
  produce TOPIC                      append the lines of standard input
  read TOPIC CLOCK START_MS END_MS   read a time range
  consume GROUP TOPIC                be a member of a group until SIGTERM
  seek GROUP TOPIC CLOCK TIME_MS     send the group to a moment
  fail TOPIC                         see a partial failure and a whole one
CLOCK is event or append.`;

const COMMANDS = {
  produce: (services, topic) => produce(services, topic),
  read: (services, topic, clock, start, end) =>
    read(services, topic, clock, Number(start), Number(end)),
  consume: (services, group, topic) => new Member(services, group, topic).live(),
  seek: (services, group, topic, clock, time) => seek(services, group, topic, clock, Number(time)),
  fail: (services, topic) => fail(services, topic),
};

const [address, name, ...words] = process.argv.slice(2);
const command = COMMANDS[name];
const timed = name === 'read' || name === 'seek';
const clock = name === 'read' ? words[1] : words[2];
if (!command || words.length !== command.length - 1 || (timed && !(clock in CLOCKS))) {
  console.error(USAGE);
  process.exit(2);
}
const services = connect(address);
try {
  await command(services, ...words);
} catch (error) {
  if (error.code === undefined) throw error;
  sayError(error);
  process.exitCode = 1;
} finally {
  Object.values(services).forEach((service) => service.close());
}
