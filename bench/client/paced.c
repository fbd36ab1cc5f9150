/* Sends one and the same request at a fixed rate, whatever became of those before it, until told to stop.
 *
 *   paced PORT FILE PER_SECOND CONNECTIONS
 *
 * FILE holds one request, sent as it is, over each connection in turn; answers have their length in front, i32,
 * big-endian. A request's wait counts from when it was due: a server that stands still is charged for all that became
 * late. SIGUSR1: drops what was measured so far. SIGTERM: stops sending, takes the answers that are missing, and
 * prints one line of JSON: how many there were, and the median, the 99th percentile and the longest wait in ms.
 */
#define _GNU_SOURCE /* ppoll */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 65536, PREFIX = 4, UNANSWERED_MAX = 65536, CONNECTIONS_MAX = 1000, ANSWER_S_MAX = 30 };

struct connection {
  double due[UNANSWERED_MAX]; /* a ring: when each unanswered request was due */
  unsigned first, next;
  unsigned char prefix[PREFIX];
  int prefix_bytes; /* of the answer that is being read */
  uint32_t body_left;
};

static volatile sig_atomic_t dropping, stopping;
static double *waits;
static size_t measured, room;

static void told(int signal) {
  if (signal == SIGUSR1) dropping = 1;
  else stopping = 1;
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void stop(const char *what) {
  perror(what);
  exit(1);
}

static void is_answered(struct connection *c) {
  if (measured == room && !(waits = realloc(waits, (room = room ? 2 * room : 65536) * sizeof *waits))) stop("realloc");
  waits[measured++] = now_s() - c->due[c->first++ % UNANSWERED_MAX];
}

static void read_answers(struct connection *c, int fd) {
  char buffer[1 << 14], *p = buffer;
  ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  if (n <= 0) stop(n ? "recv" : "the server hung up");
  while (n > 0) {
    if (c->prefix_bytes < PREFIX) {
      c->prefix[c->prefix_bytes++] = (unsigned char)*p++;
      n--;
      if (c->prefix_bytes < PREFIX) continue;
      uint32_t length;
      memcpy(&length, c->prefix, PREFIX);
      c->body_left = ntohl(length);
    }
    uint32_t part = c->body_left < (uint32_t)n ? c->body_left : (uint32_t)n;
    p += part, n -= part, c->body_left -= part;
    if (c->body_left > 0) continue;
    c->prefix_bytes = 0;
    is_answered(c);
  }
}

static int opened(int port) {
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (connect(fd, (struct sockaddr *)&where, sizeof where)) stop("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void await(struct pollfd *sockets, struct connection *all, int connections, double until) {
  double left = until - now_s();
  struct timespec most = {0, 0};
  if (left > 0) most.tv_sec = (time_t)left, most.tv_nsec = (long)((left - (double)most.tv_sec) * 1e9);
  if (ppoll(sockets, (nfds_t)connections, &most, NULL) < 0 && errno != EINTR) stop("ppoll");
  for (int i = 0; i < connections; i++)
    if (sockets[i].revents) read_answers(all + i, sockets[i].fd), sockets[i].revents = 0;
}

int main(int argc, char **argv) {
  static char request[REQUEST_BYTES_MAX];
  if (argc != 5) return fprintf(stderr, "see the head of paced.c\n"), 2;
  FILE *file = fopen(argv[2], "rb");
  if (!file) stop(argv[2]);
  size_t bytes = fread(request, 1, sizeof request, file);
  double apart = 1 / atof(argv[3]);
  int connections = atoi(argv[4]);
  if (connections < 1 || connections > CONNECTIONS_MAX) return fprintf(stderr, "1 to 1000 connections\n"), 2;
  struct connection *all = calloc((size_t)connections, sizeof *all);
  struct pollfd *sockets = calloc((size_t)connections, sizeof *sockets);
  for (int i = 0; i < connections; i++) sockets[i] = (struct pollfd){opened(atoi(argv[1])), POLLIN, 0};
  signal(SIGUSR1, told);
  signal(SIGTERM, told);
  unsigned sent = 0, answered = 0;
  double began = now_s();
  while (!stopping) {
    double due = began + sent * apart;
    if (now_s() < due) {
      await(sockets, all, connections, due);
    } else {
      struct connection *c = all + sent % (unsigned)connections;
      if (c->next - c->first == UNANSWERED_MAX) return fprintf(stderr, "too many are unanswered\n"), 1;
      c->due[c->next++ % UNANSWERED_MAX] = due;
      if (send(sockets[sent % (unsigned)connections].fd, request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) stop("send");
      sent++;
    }
    if (dropping) dropping = 0, measured = 0;
  }
  for (double give_up = now_s() + ANSWER_S_MAX; answered < sent; ) {
    answered = 0;
    for (int i = 0; i < connections; i++) answered += all[i].first;
    if (answered < sent && now_s() > give_up) return fprintf(stderr, "no answer for 30 s\n"), 1;
    if (answered < sent) await(sockets, all, connections, give_up);
  }
  if (!measured) return fprintf(stderr, "nothing was sent\n"), 1;
  qsort(waits, measured, sizeof *waits, ascending);
  printf("{\"requests\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", measured,
         waits[measured / 2] * 1e3, waits[measured * 99 / 100] * 1e3, waits[measured - 1] * 1e3);
  return 0;
}
