/* Members of a group, each a librdkafka consumer with a thread of its own; it runs until killed.
 *
 *   members BROKERS GROUP TOPIC MEMBERS [KEY=VALUE ...]
 *
 * The first line says when the first consumer was made, each other what happened to a member:
 * "SECONDS MEMBER assigned|revoked PARTITION...", on the monotonic clock of the machine.
 */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

static void tell(int member, const char *what, const rd_kafka_topic_partition_list_t *partitions) {
  struct timespec t;
  pthread_mutex_lock(&telling);
  clock_gettime(CLOCK_MONOTONIC, &t);
  printf("%lld.%06ld %d %s", (long long)t.tv_sec, t.tv_nsec / 1000, member, what);
  for (int i = 0; partitions && i < partitions->cnt; i++)
    printf(" %d", partitions->elems[i].partition);
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&telling);
}

static void balanced(rd_kafka_t *rk, rd_kafka_resp_err_t why,
                     rd_kafka_topic_partition_list_t *partitions, void *member) {
  int given = why == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  tell(*(int *)member, given ? "assigned" : "revoked", partitions);
  if (rd_kafka_assign(rk, given ? partitions : NULL)) exit(1);
}

static rd_kafka_t *member(int argc, char **argv, int *number) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char why[512];
  rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof why);
  rd_kafka_conf_set(conf, "group.id", argv[2], why, sizeof why);
  rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why);
  for (int i = 5; i < argc; i++) {
    char name[128];
    const char *equals = strchr(argv[i], '=');
    if (!equals || equals - argv[i] >= (int)sizeof name) exit(2);
    memcpy(name, argv[i], (size_t)(equals - argv[i]));
    name[equals - argv[i]] = 0;
    if (rd_kafka_conf_set(conf, name, equals + 1, why, sizeof why) != RD_KAFKA_CONF_OK) {
      fprintf(stderr, "%s\n", why);
      exit(2);
    }
  }
  rd_kafka_conf_set_rebalance_cb(conf, balanced);
  rd_kafka_conf_set_opaque(conf, number);
  rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (!rk) {
    fprintf(stderr, "%s\n", why);
    exit(1);
  }
  rd_kafka_poll_set_consumer(rk);
  return rk;
}

static void *lives(void *rk) {
  for (;;) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 1000);
    if (message) rd_kafka_message_destroy(message);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 5) return fprintf(stderr, "see the head of members.c\n"), 2;
  int members = atoi(argv[4]);
  int *numbers = calloc((size_t)members, sizeof *numbers);
  pthread_t *threads = calloc((size_t)members, sizeof *threads);
  tell(-1, "began", NULL);
  for (int i = 0; i < members; i++) {
    numbers[i] = i;
    rd_kafka_t *rk = member(argc, argv, numbers + i);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, argv[3], RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(rk, topics)) return fprintf(stderr, "cannot subscribe\n"), 1;
    rd_kafka_topic_partition_list_destroy(topics);
    if (pthread_create(threads + i, NULL, lives, rk)) return perror("pthread_create"), 1;
  }
  for (int i = 0; i < members; i++) pthread_join(threads[i], NULL);
  return 0;
}
