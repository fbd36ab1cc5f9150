/* Sends one and the same request over many connections, and counts the answers.
 *
 *   small PORT FILE CONNECTIONS IN_FLIGHT REQUESTS [LINES [GREETING SKIPPED]]
 *
 * FILE holds one request, sent as it is. Answers have their length in front, i32, big-endian; or, with LINES, are so
 * many lines of text each (a line "PING" is nobody's answer). GREETING is a file that each connection sends first; what
 * answers it are the first SKIPPED lines. In either file "@@@@" stands for the connection's number, four digits.
 * Each connection keeps IN_FLIGHT requests unanswered. Prints one line of JSON: seconds from the first request to the
 * last answer, and the median and the 99th percentile of a request's wait in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 65536, PREFIX = 4, EVENTS = 256 };

struct connection {
  int fd;
  int unanswered;
  size_t unsent;      /* bytes at the end of `out` that the socket has not taken */
  size_t out_bytes;
  char *out;          /* requests handed over together */
  double *sent_at;    /* a ring: when each unanswered request was handed over */
  unsigned first, next;
  unsigned char prefix[PREFIX];
  int prefix_bytes;   /* of the answer that is being read */
  uint32_t body_left;
  int lines;          /* of the answer that is being read */
  int line_bytes;     /* of the line that is being read, as far as they are of interest */
  int begins_ping;
  char *request;      /* with its own number in it */
};

static char request[REQUEST_BYTES_MAX], greeting[REQUEST_BYTES_MAX];
static size_t request_bytes, greeting_bytes;
static int in_flight, lines_each, skipped;
static long to_send, answered;
static double *waits;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void stop(const char *what) {
  perror(what);
  exit(1);
}

/* Hands over as many requests as are wanted, in one write; returns whether the socket is full. */
static int send_requests(struct connection *c) {
  if (c->unsent == 0) {
    c->out_bytes = 0;
    double now = now_s();
    while (c->unanswered < in_flight && to_send > 0) {
      memcpy(c->out + c->out_bytes, c->request, request_bytes);
      c->out_bytes += request_bytes;
      c->sent_at[c->next++ % (unsigned)in_flight] = now;
      c->unanswered++;
      to_send--;
    }
    c->unsent = c->out_bytes;
  }
  while (c->unsent > 0) {
    ssize_t n = send(c->fd, c->out + c->out_bytes - c->unsent, c->unsent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return 1;
    if (n < 0) stop("send");
    c->unsent -= (size_t)n;
  }
  return 0;
}

static void is_answered(struct connection *c) {
  c->unanswered--;
  waits[answered++] = now_s() - c->sent_at[c->first++ % (unsigned)in_flight];
}

static void read_lines(struct connection *c, const char *p, ssize_t n) {
  for (const char *end = p + n; p < end; p++) {
    if (c->line_bytes == 0) c->begins_ping = 1;
    if (c->line_bytes < 4 && *p != "PING"[c->line_bytes]) c->begins_ping = 0;
    if (c->line_bytes < 4) c->line_bytes++;
    if (*p != '\n') continue;
    int counts = !(c->begins_ping && c->line_bytes == 4);
    c->line_bytes = 0;
    if (!counts || ++c->lines < lines_each) continue;
    c->lines = 0;
    is_answered(c);
  }
}

static void read_answers(struct connection *c) {
  static char buffer[1 << 16];
  ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) stop(n ? "recv" : "the server hung up");
  if (lines_each) {
    read_lines(c, buffer, n);
    return;
  }
  for (char *p = buffer; n > 0;) {
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

static void watch(int poll, struct connection *c, int how, int writing) {
  struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(poll, how, c->fd, &e)) stop("epoll_ctl");
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static size_t read_file(const char *name, char *into) {
  FILE *file = fopen(name, "rb");
  if (!file) stop(name);
  size_t bytes = fread(into, 1, REQUEST_BYTES_MAX, file);
  fclose(file);
  return bytes;
}

/* Returns a copy in which the number stands. */
static char *numbered(const char *text, size_t bytes, int number) {
  char digits[16], *copy = malloc(bytes);
  memcpy(copy, text, bytes);
  snprintf(digits, sizeof digits, "%04d", number);
  for (size_t at = 0; at + 4 <= bytes; at++)
    if (!memcmp(copy + at, "@@@@", 4)) memcpy(copy + at, digits, 4);
  return copy;
}

static void greet(struct connection *c, int number) {
  char *own = numbered(greeting, greeting_bytes, number), answer;
  if (send(c->fd, own, greeting_bytes, MSG_NOSIGNAL) != (ssize_t)greeting_bytes) stop("greeting");
  free(own);
  for (int lines = 0; lines < skipped;) {
    if (recv(c->fd, &answer, 1, 0) != 1) stop("answer to the greeting");
    lines += answer == '\n';
  }
}

int main(int argc, char **argv) {
  if (argc < 6 || argc == 8 || argc > 9) return fprintf(stderr, "see the head of small.c\n"), 2;
  request_bytes = read_file(argv[2], request);
  if (argc > 6) lines_each = atoi(argv[6]);
  if (argc > 8) greeting_bytes = read_file(argv[7], greeting), skipped = atoi(argv[8]);
  int connections = atoi(argv[3]);
  long requests = to_send = atol(argv[5]);
  in_flight = atoi(argv[4]);
  waits = calloc((size_t)requests, sizeof *waits);
  struct connection *all = calloc((size_t)connections, sizeof *all);
  struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int poll = epoll_create1(0), one = 1;
  for (struct connection *c = all; c < all + connections; c++) {
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&where, sizeof where)) stop("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->request = numbered(request, request_bytes, (int)(c - all));
    if (greeting_bytes) greet(c, (int)(c - all));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->out = malloc(request_bytes * (size_t)in_flight);
    c->sent_at = calloc((size_t)in_flight, sizeof *c->sent_at);
    watch(poll, c, EPOLL_CTL_ADD, 0);
  }
  double began = now_s();
  for (struct connection *c = all; c < all + connections; c++)
    if (send_requests(c)) watch(poll, c, EPOLL_CTL_MOD, 1);
  while (answered < requests) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poll, events, EVENTS, 30000);
    if (n == 0) return fprintf(stderr, "no answer for 30 s\n"), 1;
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_answers(c);
      int full = send_requests(c);
      if (full || events[i].events & EPOLLOUT) watch(poll, c, EPOLL_CTL_MOD, full);
    }
  }
  double seconds = now_s() - began;
  qsort(waits, (size_t)requests, sizeof *waits, ascending);
  printf("{\"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", seconds,
         waits[requests / 2] * 1e6, waits[requests * 99 / 100] * 1e6);
  return 0;
}
