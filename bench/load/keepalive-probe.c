// Sends requests at a steady rate over a few open TLS connections and prints their latency as one line of
// JSON.
//
// Open loop: latency counts from the time at which a request *should* have been sent, so a server that stalls
// is charged for everything that queued up behind the stall (no coordinated omission).

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client.h"
#include "measure.h"

#define DRAIN_NS (5 * NS_PER_S)

struct lane {
  struct connection connection;  // first: epoll carries its address
  bool ready;
  uint64_t next_index;  // of the request to send next; this lane serves index, index + lanes, …
};

struct probe {
  struct client_options options;
  struct client client;
  struct lane* lanes;
  unsigned lane_count;
  double seconds, rate;
  uint64_t start_ns, total, completed, errors[FAILURES];
  struct samples latency;
  char first_error[sizeof((struct connection*)0)->reason];
  char request[400];
};

static void connect_lanes(struct probe* probe);
static void run(struct probe* probe);
static void send_due(struct probe* probe, struct lane* lane, uint64_t now);
static void complete(struct probe* probe, struct lane* lane);
static void fail(struct probe* probe, struct lane* lane);
static uint64_t intended_ns(const struct probe* probe, uint64_t index);
static void report(struct probe* probe);
static struct probe parse_arguments(int argc, char** argv);

int main(int argc, char** argv) {
  struct probe probe = parse_arguments(argc, argv);
  client_init(&probe.client, &probe.options);
  probe.lanes = calloc(probe.lane_count, sizeof *probe.lanes);
  probe.total = (uint64_t)(probe.seconds * probe.rate);
  snprintf(probe.request, sizeof probe.request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", probe.options.host);
  connect_lanes(&probe);
  // The caller starts the disturbance only when the connections stand.
  printf("{\"connected\":%u}\n", probe.lane_count);
  fflush(stdout);
  run(&probe);
  report(&probe);
  for (unsigned i = 0; i < probe.lane_count; i++) connection_close(&probe.lanes[i].connection);
  client_free(&probe.client);
  samples_free(&probe.latency);
  free(probe.lanes);
  return 0;
}

static void connect_lanes(struct probe* probe) {
  const uint64_t limit = now_ns() + 10 * NS_PER_S;
  unsigned ready = 0;
  for (unsigned i = 0; i < probe->lane_count; i++) {
    if (connection_open(&probe->lanes[i].connection, &probe->client) == FAILED) die("cannot connect");
  }
  while (ready < probe->lane_count) {
    struct epoll_event events[64];
    const int count = epoll_wait(probe->client.epoll, events, 64, 100);
    for (int i = 0; i < count; i++) {
      struct lane* lane = events[i].data.ptr;
      const enum progress progress = connection_continue(&lane->connection);
      if (progress == FAILED) {
        fprintf(stderr, "cannot connect: %s\n", lane->connection.reason);
        exit(1);
      }
      if (progress != HANDSHAKE_DONE) continue;
      lane->ready = true;
      ready++;
    }
    if (now_ns() > limit) {
      fprintf(stderr, "cannot connect within 10 seconds\n");
      exit(1);
    }
  }
}

static void run(struct probe* probe) {
  // A timer file descriptor, because epoll_wait's own timeout has only millisecond steps.
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event timer_event = {.events = EPOLLIN, .data.ptr = NULL};
  if (timer < 0 || epoll_ctl(probe->client.epoll, EPOLL_CTL_ADD, timer, &timer_event) != 0) die("timerfd");
  const long period = (long)(NS_PER_S / 2 / (uint64_t)probe->rate);
  const struct timespec tick = {.tv_nsec = period < 200000 ? 200000 : period};
  timerfd_settime(timer, 0, &(struct itimerspec){.it_interval = tick, .it_value = tick}, NULL);

  probe->start_ns = now_ns();
  for (unsigned i = 0; i < probe->lane_count; i++) probe->lanes[i].next_index = i;
  const uint64_t limit = probe->start_ns + (uint64_t)(probe->seconds * NS_PER_S) + DRAIN_NS;
  uint64_t settled = 0;
  while (settled < probe->total && now_ns() < limit) {
    for (unsigned i = 0; i < probe->lane_count; i++) send_due(probe, &probe->lanes[i], now_ns());
    struct epoll_event events[64];
    const int count = epoll_wait(probe->client.epoll, events, 64, 100);
    for (int i = 0; i < count; i++) {
      struct lane* lane = events[i].data.ptr;
      if (lane == NULL) {
        uint64_t expirations;
        if (read(timer, &expirations, sizeof expirations) < 0) continue;
      } else {
        const enum progress progress = connection_continue(&lane->connection);
        if (progress == RESPONSE_DONE) complete(probe, lane);
        if (progress == FAILED) fail(probe, lane);
      }
    }
    settled = probe->completed;
    for (int kind = 1; kind < FAILURES; kind++) settled += probe->errors[kind];
  }
  // What is neither answered nor failed by now has no answer.
  probe->errors[TIMED_OUT] += probe->total - settled;
  close(timer);
}

static void send_due(struct probe* probe, struct lane* lane, uint64_t now) {
  if (!lane->ready || lane->next_index >= probe->total) return;
  if (intended_ns(probe, lane->next_index) > now) return;
  lane->ready = false;
  const enum progress progress = connection_request(&lane->connection, probe->request, false);
  if (progress == RESPONSE_DONE) complete(probe, lane);
  if (progress == FAILED) fail(probe, lane);
}

static void complete(struct probe* probe, struct lane* lane) {
  const uint64_t now = now_ns();
  samples_add(&probe->latency, now - intended_ns(probe, lane->next_index));
  probe->completed++;
  lane->next_index += probe->lane_count;
  lane->ready = true;
}

// A lane that breaks stays broken: every request it should have carried counts as an error.
static void fail(struct probe* probe, struct lane* lane) {
  if (probe->first_error[0] == '\0')
    memcpy(probe->first_error, lane->connection.reason, sizeof probe->first_error);
  for (; lane->next_index < probe->total; lane->next_index += probe->lane_count)
    probe->errors[lane->connection.failure]++;
  lane->ready = false;
  connection_close(&lane->connection);
}

static uint64_t intended_ns(const struct probe* probe, uint64_t index) {
  return probe->start_ns + (uint64_t)((double)index / probe->rate * NS_PER_S);
}

static void report(struct probe* probe) {
  printf(
      "{\"seconds\":%.3f,\"connections\":%u,\"rate\":%.1f,\"requests\":%llu,\"completed\":%llu,"
      "\"latencyMs\":",
      probe->seconds, probe->lane_count, probe->rate, (unsigned long long)probe->total,
      (unsigned long long)probe->completed);
  samples_print(&probe->latency, stdout);
  fputs(",\"errors\":{", stdout);
  for (int kind = 1; kind < FAILURES; kind++)
    printf("%s\"%s\":%llu", kind > 1 ? "," : "", failure_names[kind],
           (unsigned long long)probe->errors[kind]);
  fputs("},\"firstError\":", stdout);
  print_json_string(probe->first_error, stdout);
  printf(",\"cpuSeconds\":%.3f}\n", own_cpu_seconds());
}

static _Noreturn void usage(void) {
  fprintf(stderr,
          "usage: keepalive-probe [options] IPv4:PORT\n"
          "  --connections N      open connections, used in turn (20)\n"
          "  --seconds N          duration (5)\n"
          "  --rate N             requests a second, all connections together (200)\n%s",
          client_usage);
  exit(2);
}

static struct probe parse_arguments(int argc, char** argv) {
  struct probe probe = {.options = default_client_options(), .lane_count = 20, .seconds = 5, .rate = 200};
  const struct option options[] = {{"connections", required_argument, NULL, 'c'},
                                   {"seconds", required_argument, NULL, 'd'},
                                   {"rate", required_argument, NULL, 'R'},
                                   CLIENT_LONG_OPTIONS,
                                   {0}};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'c')
      probe.lane_count = (unsigned)atoi(optarg);
    else if (option == 'd')
      probe.seconds = atof(optarg);
    else if (option == 'R')
      probe.rate = atof(optarg);
    else if (!parse_client_option(option, optarg, &probe.options))
      usage();
  }
  if (optind != argc - 1 || probe.lane_count == 0 || probe.rate < 1) usage();
  parse_target(argv[optind], &probe.options);
  return probe;
}
