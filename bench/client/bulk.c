/* Produces or consumes records as fast as librdkafka can, and prints one line of JSON.
 *
 *   bulk produce BROKERS TOPIC PARTITIONS RECORDS BYTES [KEY=VALUE ...]
 *   bulk consume BROKERS TOPIC PARTITIONS RECORDS BYTES [KEY=VALUE ...]
 *
 * KEY=VALUE are librdkafka's own settings. The clock runs from the first record handed over to the
 * last acknowledgement, or from the first record read to the last. Exit code 1: an error, told on
 * stderr; the figures of a run with errors are never printed.
 */
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long long acknowledged, failed;
static double last_ack;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
  (void)rk, (void)opaque;
  if (m->err) {
    if (failed++ == 0) fprintf(stderr, "delivery failed: %s\n", rd_kafka_err2str(m->err));
  } else {
    acknowledged++;
    last_ack = now_s();
  }
}

static rd_kafka_conf_t *configured(int argc, char **argv, const char *brokers) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char why[512];
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why);
  for (int i = 0; i < argc; i++) {
    char *equals = strchr(argv[i], '=');
    if (!equals) {
      fprintf(stderr, "not KEY=VALUE: %s\n", argv[i]);
      exit(2);
    }
    *equals = 0;
    if (rd_kafka_conf_set(conf, argv[i], equals + 1, why, sizeof why) != RD_KAFKA_CONF_OK) {
      fprintf(stderr, "%s\n", why);
      exit(2);
    }
  }
  return conf;
}

static int produce(rd_kafka_conf_t *conf, const char *topic, int partitions, long long records,
                   int bytes) {
  enum { HANDED_OVER = 1000 };
  char why[512];
  rd_kafka_conf_set_dr_msg_cb(conf, delivered);
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (!rk) return fprintf(stderr, "%s\n", why), 1;
  rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
  char *value = malloc((size_t)bytes + 4096);
  srand(7);
  for (int i = 0; i < bytes + 4096; i++) value[i] = (char)('a' + rand() % 26);
  rd_kafka_message_t batch[HANDED_OVER];
  double began = now_s();
  for (long long sent = 0; sent < records;) {
    int n = records - sent < HANDED_OVER ? (int)(records - sent) : HANDED_OVER;
    memset(batch, 0, sizeof batch);
    for (int i = 0; i < n; i++) {
      batch[i].payload = value + (sent + i) % 4096;
      batch[i].len = (size_t)bytes;
    }
    int partition = (int)((sent / HANDED_OVER) % partitions);
    for (int left = n; left > 0;) {
      rd_kafka_produce_batch(rkt, partition, RD_KAFKA_MSG_F_COPY, batch, left);
      int refused = 0; /* the queue was full: hand over again what was not taken */
      for (int i = 0; i < left; i++) {
        if (!batch[i].err) continue;
        if (batch[i].err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
          return fprintf(stderr, "%s\n", rd_kafka_err2str(batch[i].err)), 1;
        batch[refused].payload = batch[i].payload;
        batch[refused].err = 0;
        refused++;
      }
      if ((left = refused) > 0) rd_kafka_poll(rk, 1);
    }
    sent += n;
    rd_kafka_poll(rk, 0);
  }
  while (acknowledged + failed < records && now_s() - began < 600) rd_kafka_poll(rk, 100);
  if (failed || acknowledged != records)
    return fprintf(stderr, "%lld acknowledged, %lld failed\n", acknowledged, failed), 1;
  printf("{\"records\": %lld, \"seconds\": %.6f}\n", records, last_ack - began);
  return 0;
}

static int consume(rd_kafka_conf_t *conf, const char *topic, int partitions, long long records,
                   int bytes) {
  enum { TAKEN_AT_ONCE = 10000 };
  char why[512];
  rd_kafka_conf_set(conf, "group.id", "bench", why, sizeof why);
  rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why);
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (!rk) return fprintf(stderr, "%s\n", why), 1;
  rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
  rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
  for (int p = 0; p < partitions; p++)
    if (rd_kafka_consume_start_queue(rkt, p, RD_KAFKA_OFFSET_BEGINNING, queue))
      return fprintf(stderr, "cannot consume partition %d\n", p), 1;
  rd_kafka_message_t **taken = malloc(TAKEN_AT_ONCE * sizeof *taken);
  long long got = 0;
  double began = 0, asked = now_s();
  while (got < records && now_s() - asked < 600) {
    ssize_t n = rd_kafka_consume_batch_queue(queue, 100, taken, TAKEN_AT_ONCE);
    for (ssize_t i = 0; i < n; i++) {
      if (!taken[i]->err && taken[i]->len == (size_t)bytes) got++;
      else if (taken[i]->err) return fprintf(stderr, "%s\n", rd_kafka_message_errstr(taken[i])), 1;
      rd_kafka_message_destroy(taken[i]);
    }
    if (n > 0 && began == 0) began = now_s();
  }
  if (got != records) return fprintf(stderr, "%lld of %lld records came\n", got, records), 1;
  printf("{\"records\": %lld, \"seconds\": %.6f}\n", records, now_s() - began);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 7) return fprintf(stderr, "see the head of bulk.c\n"), 2;
  rd_kafka_conf_t *conf = configured(argc - 7, argv + 7, argv[2]);
  int partitions = atoi(argv[4]), bytes = atoi(argv[6]);
  long long records = atoll(argv[5]);
  int (*run)(rd_kafka_conf_t *, const char *, int, long long, int) =
      strcmp(argv[1], "produce") ? consume : produce;
  int code = run(conf, argv[3], partitions, records, bytes);
  fflush(stdout);
  _Exit(code); /* the process ends here: tearing the client down is not what is measured */
}
