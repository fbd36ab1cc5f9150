/* Loads a partition with records of known times, and finds them by time.
 *
 *   seek load BROKERS TOPIC RECORDS FROM_MS BYTES [KEY=VALUE ...]
 *   seek find BROKERS TOPIC RECORDS FROM_MS LOOKUPS SEED
 *   seek window BROKERS TOPIC RECORDS FROM_MS WINDOWS SEED WIDTH
 *
 * The record at offset n has the time FROM_MS + n, so that every answer can be checked: a wrong one ends the program.
 * find: the first record at or after a time, LOOKUPS times one after the other; the first time is that of the last
 * record, the others are random. window: WINDOWS times the WIDTH records of a random range of time: one lookup, then
 * fetches from there on until a record comes that lies behind the range. One connection.
 * Exit code 1: an error or a wrong answer, told on stderr.
 */
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Records that wait in the client, two batches of 1 MB: with more it would fetch much that lies behind the range, with
 * fewer it pauses for a second whenever a batch arrives. */
#define FETCHED_AHEAD "2000"

enum { ANSWER_MS_MAX = 300000, STARTS = 4096 };

static const char *topic_name;
static int64_t records, from_ms;
static long long acknowledged, failed;

static void stop(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  _Exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
  char why[512];
  if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK) stop(key, why);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
  char why[512];
  rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
  if (!rk) stop("client", why);
  return rk;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
  (void)rk, (void)opaque;
  if (m->err && failed++ == 0) fprintf(stderr, "delivery: %s\n", rd_kafka_err2str(m->err));
  acknowledged += !m->err;
}

static void load(rd_kafka_conf_t *conf, size_t bytes, int count, char **settings) {
  for (int i = 0; i < count; i++) {
    char *equals = strchr(settings[i], '=');
    if (!equals) stop(settings[i], "not KEY=VALUE");
    *equals = 0;
    set(conf, settings[i], equals + 1);
  }
  rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, topic_name, NULL);
  const struct rd_kafka_metadata *about; /* a topic that is not there is made by this */
  rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &about, ANSWER_MS_MAX);
  if (err) stop("metadata", rd_kafka_err2str(err));
  rd_kafka_metadata_destroy(about);
  char *value = malloc(bytes + STARTS);
  srand(7);
  for (size_t i = 0; i < bytes + STARTS; i++) value[i] = (char)('a' + rand() % 26);
  for (int64_t n = 0; n < records; n++) {
    char *start = value + n % STARTS;
    while ((err = rd_kafka_producev(rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(0),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(start, bytes),
                                    RD_KAFKA_V_TIMESTAMP(from_ms + n), RD_KAFKA_V_END))) {
      if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) stop("produce", rd_kafka_err2str(err));
      rd_kafka_poll(rk, 5);
    }
    if (n % 256 == 0) rd_kafka_poll(rk, 0);
  }
  err = rd_kafka_flush(rk, ANSWER_MS_MAX);
  if (err || failed || acknowledged != records) stop("not every record was acknowledged", rd_kafka_err2str(err));
}

static int64_t offset_at(rd_kafka_t *rk, int64_t time_ms) {
  rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(asked, topic_name, 0)->offset = time_ms;
  rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, asked, ANSWER_MS_MAX);
  if (!err) err = asked->elems[0].err;
  if (err) stop("lookup", rd_kafka_err2str(err));
  int64_t found = asked->elems[0].offset;
  rd_kafka_topic_partition_list_destroy(asked);
  if (found == time_ms - from_ms) return found;
  fprintf(stderr, "time %lld: offset %lld\n", (long long)time_ms, (long long)found);
  stop("lookup", "a wrong answer");
  return -1;
}

static void find(rd_kafka_t *rk, long lookups) {
  offset_at(rk, from_ms + records - 1);
  for (long i = 1; i < lookups; i++) offset_at(rk, from_ms + (int64_t)(drand48() * (double)records));
}

static void window(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t width) {
  int64_t begin_ms = from_ms + (int64_t)(drand48() * (double)(records - width)); /* a record lies behind it */
  int64_t next = offset_at(rk, begin_ms), taken = 0;
  if (rd_kafka_consume_start(topic, 0, next)) stop("consume", rd_kafka_err2str(rd_kafka_last_error()));
  for (int ended = 0; !ended;) {
    rd_kafka_message_t *m = rd_kafka_consume(topic, 0, ANSWER_MS_MAX);
    if (!m) stop("window", "no record comes");
    if (m->err) stop("window", rd_kafka_message_errstr(m));
    if (m->offset != next++) stop("window", "a wrong record");
    rd_kafka_timestamp_type_t type;
    ended = rd_kafka_message_timestamp(m, &type) >= begin_ms + width;
    taken += !ended;
    rd_kafka_message_destroy(m);
  }
  rd_kafka_consume_stop(topic, 0);
  if (taken != width) stop("window", "records are missing");
}

int main(int argc, char **argv) {
  if (argc < 7) return fprintf(stderr, "see the head of seek.c\n"), 2;
  const char *verb = argv[1];
  topic_name = argv[3];
  records = atoll(argv[4]);
  from_ms = atoll(argv[5]);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", argv[2]);
  if (!strcmp(verb, "load")) {
    load(conf, (size_t)atol(argv[6]), argc - 7, argv + 7);
    _Exit(0);
  }
  if (argc < 8) return fprintf(stderr, "see the head of seek.c\n"), 2;
  set(conf, "socket.timeout.ms", "300000"); /* a first lookup may read much */
  set(conf, "queued.min.messages", FETCHED_AHEAD);
  rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf);
  srand48(atol(argv[7]));
  if (!strcmp(verb, "find")) {
    find(rk, atol(argv[6]));
  } else if (!strcmp(verb, "window") && argc == 9) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, topic_name, NULL);
    for (long i = 0; i < atol(argv[6]); i++) window(rk, topic, atoll(argv[8]));
  } else {
    return fprintf(stderr, "see the head of seek.c\n"), 2;
  }
  _Exit(0); /* the process ends here: tearing the client down is not what is measured */
}
