// Makes TLS handshakes as fast as the server allows, or at a fixed rate, and prints one line of JSON.
//
// Closed loop: every slot opens the next connection when the last one has ended. Open loop (--rate): arrivals
// follow the clock; one that finds no free slot waits, and its latency counts from the intended time.
//
// TERM ends it early: no new connections, those under way are finished, then the report. With --each FILE
// there is one line a connection, in the order of their ends: when it was meant to begin, when it was
// established or had failed (both CLOCK_MONOTONIC in ns), and the kind of failure or `none`. So figures can
// be had for any span of time.

#include <getopt.h>
#include <openssl/objects.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client.h"
#include "measure.h"

#define TICK_MS 10
#define DRAIN_NS (10 * NS_PER_S)

struct settings {
  struct client_options client;
  unsigned concurrency;  // all threads together
  unsigned threads;
  double seconds;
  double rate;  // arrivals a second, all threads together; 0: closed loop
  bool request;
  uint64_t timeout_ns;
  const char* each;  // file; NULL: none
};

struct slot {
  struct connection connection;  // first: epoll carries its address
  uint64_t intended_ns;
  uint64_t rest_until_ns;  // after a failure, so that a dead server is not hammered
  bool busy;
};

struct worker {
  const struct settings* settings;
  struct client client;
  struct slot* slots;
  unsigned slot_count, busy;
  double rate;
  uint64_t start_ns, end_ns, arrivals;
  uint64_t started, handshakes, resumed, stapled, in_window, tickets, errors[FAILURES];
  struct samples latency;
  char first_error[sizeof((struct connection*)0)->reason];
  char version[16], cipher[48], group[32], signature[32];
  char http_request[400];
  FILE* each;  // of all threads: stdio locks it for every line
  pthread_t thread;
};

static atomic_bool stopping;

static void* run_worker(void* argument);
static void start_due_slots(struct worker* worker, uint64_t now);
static void start_slot(struct worker* worker, struct slot* slot, uint64_t intended_ns);
static void handle(struct worker* worker, struct slot* slot, enum progress progress);
static void finish_slot(struct worker* worker, struct slot* slot, bool ok);
static void check_timeouts(struct worker* worker, uint64_t now);
static FILE* open_each(const char* path);
static void stop_early(int signal);
static void describe(struct worker* worker, SSL* ssl);
static void report(struct worker* workers, const struct settings* settings);
static struct settings parse_settings(int argc, char** argv);

int main(int argc, char** argv) {
  const struct settings settings = parse_settings(argc, argv);
  struct worker* workers = calloc(settings.threads, sizeof *workers);
  FILE* each = open_each(settings.each);
  signal(SIGTERM, stop_early);
  const uint64_t start = now_ns();
  for (unsigned i = 0; i < settings.threads; i++) {
    struct worker* worker = &workers[i];
    worker->settings = &settings;
    worker->each = each;
    worker->slot_count =
        settings.concurrency / settings.threads + (i < settings.concurrency % settings.threads);
    worker->slots = calloc(worker->slot_count, sizeof *worker->slots);
    worker->rate = settings.rate / settings.threads;
    worker->start_ns = start;
    worker->end_ns = start + (uint64_t)(settings.seconds * NS_PER_S);
    client_init(&worker->client, &settings.client);
    worker->client.next_source = i * (64000 / settings.threads);
    snprintf(worker->http_request, sizeof worker->http_request,
             "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", settings.client.host);
    if (pthread_create(&worker->thread, NULL, run_worker, worker) != 0) die("pthread_create");
  }
  for (unsigned i = 0; i < settings.threads; i++) pthread_join(workers[i].thread, NULL);
  if (each != NULL && fclose(each) != 0) die(settings.each);
  report(workers, &settings);
  for (unsigned i = 0; i < settings.threads; i++) {
    samples_free(&workers[i].latency);
    free(workers[i].slots);
  }
  free(workers);
  return 0;
}

static void* run_worker(void* argument) {
  struct worker* worker = argument;
  uint64_t next_check = worker->start_ns;
  for (;;) {
    const uint64_t now = now_ns();
    if (now < worker->end_ns) {
      start_due_slots(worker, now);
      if (stopping) worker->end_ns = now;
    } else if (worker->busy == 0 || now > worker->end_ns + DRAIN_NS) {
      break;
    }
    if (now >= next_check) {
      check_timeouts(worker, now);
      next_check = now + TICK_MS * NS_PER_MS;
    }
    struct epoll_event events[256];
    const int timeout_ms = worker->rate > 0 && now < worker->end_ns ? 1 : TICK_MS;
    const int count = epoll_wait(worker->client.epoll, events, 256, timeout_ms);
    for (int i = 0; i < count; i++) {
      struct slot* slot = events[i].data.ptr;
      if (slot->busy) handle(worker, slot, connection_continue(&slot->connection));
    }
  }
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot* slot = &worker->slots[i];
    if (slot->busy)
      handle(worker, slot, connection_fail(&slot->connection, TIMED_OUT, "unfinished at the end"));
    SSL_SESSION_free(slot->connection.session);
  }
  client_free(&worker->client);
  return NULL;
}

static void start_due_slots(struct worker* worker, uint64_t now) {
  if (worker->busy == worker->slot_count) return;
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot* slot = &worker->slots[i];
    if (slot->busy || now < slot->rest_until_ns) continue;
    uint64_t intended = now;
    if (worker->rate > 0) {
      intended = worker->start_ns + (uint64_t)((double)worker->arrivals / worker->rate * NS_PER_S);
      if (intended > now) return;
      worker->arrivals++;
    }
    start_slot(worker, slot, intended);
  }
}

static void start_slot(struct worker* worker, struct slot* slot, uint64_t intended_ns) {
  slot->intended_ns = intended_ns;
  slot->busy = true;
  worker->busy++;
  worker->started++;
  handle(worker, slot, connection_open(&slot->connection, &worker->client));
}

static void handle(struct worker* worker, struct slot* slot, enum progress progress) {
  struct connection* connection = &slot->connection;
  if (progress == HANDSHAKE_DONE && worker->settings->request)
    progress = connection_request(connection, worker->http_request, true);
  switch (progress) {
    case WAITING:
      return;
    case HANDSHAKE_DONE:
    case RESPONSE_DONE:
      finish_slot(worker, slot, true);
      return;
    case FAILED:
      finish_slot(worker, slot, false);
      return;
  }
}

static void finish_slot(struct worker* worker, struct slot* slot, bool ok) {
  struct connection* connection = &slot->connection;
  const uint64_t now = now_ns();
  worker->tickets += connection->tickets;
  if (worker->each != NULL)
    fprintf(worker->each, "%llu %llu %llu %s\n", (unsigned long long)slot->intended_ns,
            (unsigned long long)connection->opened_ns,
            (unsigned long long)(ok ? connection->handshaken_ns : now),
            failure_names[ok ? NO_FAILURE : connection->failure]);
  if (ok) {
    if (worker->handshakes == 0) describe(worker, connection->ssl);
    worker->handshakes++;
    worker->resumed += connection->resumed;
    worker->stapled += connection->stapled;
    worker->in_window += now <= worker->end_ns;
    samples_add(&worker->latency, connection->handshaken_ns - slot->intended_ns);
  } else {
    if (worker->first_error[0] == '\0')
      memcpy(worker->first_error, connection->reason, sizeof worker->first_error);
    worker->errors[connection->failure]++;
    slot->rest_until_ns = now + TICK_MS * NS_PER_MS;
  }
  connection_close(connection);
  slot->busy = false;
  worker->busy--;
  const bool again = ok && worker->rate == 0 && now < worker->end_ns;
  if (again) start_slot(worker, slot, now);
}

static void check_timeouts(struct worker* worker, uint64_t now) {
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot* slot = &worker->slots[i];
    if (slot->busy && now > slot->connection.opened_ns + worker->settings->timeout_ns)
      handle(worker, slot,
             connection_fail(&slot->connection, TIMED_OUT, "no progress within the time limit"));
  }
}

static FILE* open_each(const char* path) {
  if (path == NULL) return NULL;
  FILE* file = fopen(path, "we");
  if (file == NULL) die(path);
  return file;
}

static void stop_early(int signal) {
  (void)signal;
  stopping = true;
}

// What was negotiated, so that a comparison of unlike handshakes is seen.
static void describe(struct worker* worker, SSL* ssl) {
  int signature = NID_undef;
  SSL_get_peer_signature_type_nid(ssl, &signature);
  const char* group = SSL_group_to_name(ssl, (int)SSL_get_negotiated_group(ssl));
  snprintf(worker->version, sizeof worker->version, "%s", SSL_get_version(ssl));
  snprintf(worker->cipher, sizeof worker->cipher, "%s", SSL_get_cipher(ssl));
  snprintf(worker->group, sizeof worker->group, "%s", group == NULL ? "?" : group);
  snprintf(worker->signature, sizeof worker->signature, "%s", OBJ_nid2sn(signature));
}

static void report(struct worker* workers, const struct settings* settings) {
  struct worker sum = {0};
  const double seconds = (double)(workers[0].end_ns - workers[0].start_ns) / (double)NS_PER_S;
  for (unsigned i = 0; i < settings->threads; i++) {
    const struct worker* worker = &workers[i];
    sum.started += worker->started;
    sum.handshakes += worker->handshakes;
    sum.resumed += worker->resumed;
    sum.stapled += worker->stapled;
    sum.in_window += worker->in_window;
    sum.tickets += worker->tickets;
    for (int kind = 0; kind < FAILURES; kind++) sum.errors[kind] += worker->errors[kind];
    samples_merge(&sum.latency, &worker->latency);
    if (sum.first_error[0] == '\0') memcpy(sum.first_error, worker->first_error, sizeof sum.first_error);
  }
  printf(
      "{\"seconds\":%.3f,\"concurrency\":%u,\"started\":%llu,\"handshakes\":%llu,\"resumed\":%llu,"
      "\"stapled\":%llu,\"tickets\":%llu,\"perSecond\":%.1f,\"latencyMs\":",
      seconds, settings->concurrency, (unsigned long long)sum.started, (unsigned long long)sum.handshakes,
      (unsigned long long)sum.resumed, (unsigned long long)sum.stapled, (unsigned long long)sum.tickets,
      (double)sum.in_window / seconds);
  samples_print(&sum.latency, stdout);
  fputs(",\"errors\":{", stdout);
  for (int kind = 1; kind < FAILURES; kind++)
    printf("%s\"%s\":%llu", kind > 1 ? "," : "", failure_names[kind], (unsigned long long)sum.errors[kind]);
  fputs("},\"firstError\":", stdout);
  print_json_string(sum.first_error, stdout);
  printf(",\"version\":\"%s\",\"cipher\":\"%s\",\"group\":\"%s\",\"signature\":\"%s\",\"cpuSeconds\":%.3f}\n",
         workers[0].version, workers[0].cipher, workers[0].group, workers[0].signature, own_cpu_seconds());
  samples_free(&sum.latency);
}

static _Noreturn void usage(void) {
  fprintf(stderr,
          "usage: handshake-load [options] IPv4:PORT\n"
          "  --concurrency N      connections at a time (64)\n"
          "  --threads N          client threads (1)\n"
          "  --seconds N          duration (5)\n"
          "  --rate N             open loop: handshakes a second (closed loop)\n"
          "  -r, --resume         resume with the newest ticket; the first handshake of a slot is full\n"
          "  --request            one GET / with Connection: close after each handshake, read to its end\n"
          "  --timeout N          seconds for one connection (10)\n"
          "  --each FILE          one line a connection: intended, begun, ended (ns), failure\n%s",
          client_usage);
  exit(2);
}

static struct settings parse_settings(int argc, char** argv) {
  struct settings settings = {.client = default_client_options(),
                              .concurrency = 64,
                              .threads = 1,
                              .seconds = 5,
                              .timeout_ns = 10 * NS_PER_S};
  const struct option options[] = {{"concurrency", required_argument, NULL, 'c'},
                                   {"threads", required_argument, NULL, 't'},
                                   {"seconds", required_argument, NULL, 'd'},
                                   {"rate", required_argument, NULL, 'R'},
                                   {"resume", no_argument, NULL, 'r'},
                                   {"request", no_argument, NULL, 'q'},
                                   {"timeout", required_argument, NULL, 'w'},
                                   {"each", required_argument, NULL, 'e'},
                                   CLIENT_LONG_OPTIONS,
                                   {0}};
  for (int option; (option = getopt_long(argc, argv, "r", options, NULL)) != -1;) {
    if (option == 'c')
      settings.concurrency = (unsigned)atoi(optarg);
    else if (option == 't')
      settings.threads = (unsigned)atoi(optarg);
    else if (option == 'd')
      settings.seconds = atof(optarg);
    else if (option == 'R')
      settings.rate = atof(optarg);
    else if (option == 'r')
      settings.client.resume = true;
    else if (option == 'q')
      settings.request = true;
    else if (option == 'w')
      settings.timeout_ns = (uint64_t)(atof(optarg) * NS_PER_S);
    else if (option == 'e')
      settings.each = optarg;
    else if (!parse_client_option(option, optarg, &settings.client))
      usage();
  }
  if (optind != argc - 1 || settings.threads == 0 || settings.concurrency < settings.threads) usage();
  // A resumption needs a ticket to resume with.
  if (settings.client.resume) settings.client.read_ticket = true;
  parse_target(argv[optind], &settings.client);
  return settings;
}
