/* Produces records at a fixed rate, consumes them in the same process, and tells how long each was under way.
 *
 *   latency BROKERS TOPIC RECORDS PER_SECOND BYTES [KEY=VALUE ...]
 *
 * KEY=VALUE are librdkafka's settings of the producer. A record is due at its time whatever became of those before it,
 * and its wait counts from then: a server or a client that stands still is charged for all that became late. The
 * consumer begins at the end of partition 0. The first second's records are not counted: when they are handed over, a
 * line "warm" is printed. At the end one line of JSON: the 50th, 99th and 99.9th percentile in microseconds.
 * Exit code 1: an error, told on stderr, or a record that never came.
 */
#define _GNU_SOURCE /* pthread_timedjoin_np */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { ANSWER_MS_MAX = 30000, LAST_S_MAX = 30, ASK_AGAIN_NS = 50000000, NS_PER_S = 1000000000 };

struct stamp {
  int64_t due_ns;
  int64_t number;
};

static long warming, wanted;
static int64_t *waits;
static rd_kafka_topic_t *consumed;
static long failed;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void stop(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  _Exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
  char why[512];
  if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK) stop(key, why);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
  (void)rk, (void)opaque;
  if (m->err && failed++ == 0) fprintf(stderr, "delivery: %s\n", rd_kafka_err2str(m->err));
}

/* Takes every record once; the wait of each that counts is written down where its number says. */
static void *consume(void *unused) {
  (void)unused;
  for (long taken = 0; taken < wanted;) {
    rd_kafka_message_t *m = rd_kafka_consume(consumed, 0, 1000);
    if (!m) continue;
    if (m->err) stop("consume", rd_kafka_message_errstr(m));
    struct stamp stamp;
    if (m->len < sizeof stamp) stop("consume", "a record of somebody else");
    memcpy(&stamp, m->payload, sizeof stamp);
    if (stamp.number < 0 || stamp.number >= wanted) stop("consume", "a record of somebody else");
    waits[stamp.number] = now_ns() - stamp.due_ns;
    taken++;
    rd_kafka_message_destroy(m);
  }
  return NULL;
}

static void wait_until(int64_t due_ns) {
  struct timespec due = {.tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL)) {
  }
}

/* Returns the offset behind the last record. A topic that was made a moment ago has no leader yet: it is asked again. */
static int64_t end_of(rd_kafka_t *rk, const char *topic) {
  int64_t first, end, give_up = now_ns() + (int64_t)LAST_S_MAX * NS_PER_S;
  rd_kafka_resp_err_t err;
  while ((err = rd_kafka_query_watermark_offsets(rk, topic, 0, &first, &end, ANSWER_MS_MAX))) {
    if (now_ns() > give_up) stop("the end of the log", rd_kafka_err2str(err));
    wait_until(now_ns() + ASK_AGAIN_NS);
  }
  return end;
}

static void start_consuming(const char *brokers, const char *topic) {
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers);
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (!rk) stop("consumer", why);
  int64_t end = end_of(rk, topic); /* by its number: from here on no record can be missed */
  consumed = rd_kafka_topic_new(rk, topic, NULL);
  if (rd_kafka_consume_start(consumed, 0, end)) stop("consume", rd_kafka_err2str(rd_kafka_last_error()));
}

static rd_kafka_t *producer(const char *brokers, int count, char **settings) {
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers);
  rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  for (int i = 0; i < count; i++) {
    char *equals = strchr(settings[i], '=');
    if (!equals) stop(settings[i], "not KEY=VALUE");
    *equals = 0;
    set(conf, settings[i], equals + 1);
  }
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (!rk) stop("producer", why);
  return rk;
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static double percentile_us(long records, double share) {
  return (double)waits[warming + (long)((double)records * share)] / 1e3;
}

int main(int argc, char **argv) {
  if (argc < 6) return fprintf(stderr, "see the head of latency.c\n"), 2;
  long records = atol(argv[3]), per_second = atol(argv[4]);
  size_t bytes = (size_t)atol(argv[5]);
  if (records < 1 || per_second < 1 || bytes < sizeof(struct stamp))
    return fprintf(stderr, "RECORDS and PER_SECOND: 1 at least; BYTES: 16 at least\n"), 2;
  warming = per_second;
  wanted = warming + records;
  waits = calloc((size_t)wanted, sizeof *waits);
  char *value = malloc(bytes);
  memset(value, 'v', bytes);
  prctl(PR_SET_TIMERSLACK, 1UL); /* wake up when it is time, not 50 us later */
  rd_kafka_t *rk = producer(argv[1], argc - 6, argv + 6);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, argv[2], NULL);
  const struct rd_kafka_metadata *about; /* a topic that is not there is made by this */
  rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &about, ANSWER_MS_MAX);
  if (err) stop("metadata", rd_kafka_err2str(err));
  rd_kafka_metadata_destroy(about);
  start_consuming(argv[1], argv[2]);
  pthread_t consuming;
  if (pthread_create(&consuming, NULL, consume, NULL)) stop("thread", "cannot be started");
  int64_t began = now_ns();
  for (long i = 0; i < wanted; i++) {
    struct stamp stamp = {.due_ns = began + i * (NS_PER_S / per_second), .number = i};
    wait_until(stamp.due_ns);
    memcpy(value, &stamp, sizeof stamp);
    if (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, value, bytes, NULL, 0, NULL))
      stop("produce", rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_poll(rk, 0);
    if (i + 1 == warming) puts("warm"), fflush(stdout);
  }
  err = rd_kafka_flush(rk, LAST_S_MAX * 1000);
  if (err || failed) stop("not every record was acknowledged", rd_kafka_err2str(err));
  struct timespec give_up;
  clock_gettime(CLOCK_REALTIME, &give_up);
  give_up.tv_sec += LAST_S_MAX;
  if (pthread_timedjoin_np(consuming, NULL, &give_up)) stop("consume", "some records never came");
  qsort(waits + warming, (size_t)records, sizeof *waits, ascending);
  printf("{\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n", percentile_us(records, 0.5),
         percentile_us(records, 0.99), percentile_us(records, 0.999));
  fflush(stdout);
  _Exit(0); /* the process ends here: tearing the clients down is not what is measured */
}
