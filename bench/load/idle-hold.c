// Opens many TLS connections and holds them, for measuring what an idle connection costs the server in
// memory.
//
// Prints one line of JSON once all connections stand, keeps them until standard input closes, then prints a
// second line that says how many were still open: a server that drops idle connections cannot look frugal.

#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "measure.h"

#define LIMIT_NS (120 * NS_PER_S)

struct settings {
  struct client_options client;
  unsigned connections;
  unsigned at_a_time;  // handshakes in progress
  bool request;        // one keep-alive request on each connection before it idles
};

struct hold {
  const struct settings* settings;
  struct client client;
  struct connection* connections;
  unsigned opened, standing, failed, lost;
  char first_error[sizeof((struct connection*)0)->reason];
  char request[400];
};

static void establish(struct hold* hold);
static void hold_until_stdin_closes(struct hold* hold);
static void handle(struct hold* hold, struct connection* connection, enum progress progress);
static void raise_file_limit(unsigned connections);
static struct settings parse_settings(int argc, char** argv);

int main(int argc, char** argv) {
  const struct settings settings = parse_settings(argc, argv);
  raise_file_limit(settings.connections);
  struct hold hold = {.settings = &settings,
                      .connections = calloc(settings.connections, sizeof *hold.connections)};
  client_init(&hold.client, &settings.client);
  snprintf(hold.request, sizeof hold.request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", settings.client.host);
  establish(&hold);
  printf("{\"holding\":%u,\"failed\":%u,\"firstError\":", hold.standing, hold.failed);
  print_json_string(hold.first_error, stdout);
  puts("}");
  fflush(stdout);
  hold_until_stdin_closes(&hold);
  printf("{\"held\":%u,\"lost\":%u,\"cpuSeconds\":%.3f}\n", hold.standing, hold.lost, own_cpu_seconds());
  for (unsigned i = 0; i < settings.connections; i++) connection_close(&hold.connections[i]);
  client_free(&hold.client);
  free(hold.connections);
  return 0;
}

static void establish(struct hold* hold) {
  const uint64_t limit = now_ns() + LIMIT_NS;
  while (hold->standing + hold->failed < hold->settings->connections && now_ns() < limit) {
    while (hold->opened < hold->settings->connections &&
           hold->opened - hold->standing - hold->failed < hold->settings->at_a_time) {
      struct connection* connection = &hold->connections[hold->opened++];
      handle(hold, connection, connection_open(connection, &hold->client));
    }
    struct epoll_event events[256];
    const int count = epoll_wait(hold->client.epoll, events, 256, 100);
    for (int i = 0; i < count; i++) {
      struct connection* connection = events[i].data.ptr;
      const bool stood = connection->phase == ESTABLISHED;
      const enum progress progress = connection_continue(connection);
      if (stood && progress == FAILED) hold->standing--;
      handle(hold, connection, progress);
    }
  }
}

static void handle(struct hold* hold, struct connection* connection, enum progress progress) {
  if (progress == HANDSHAKE_DONE && hold->settings->request)
    progress = connection_request(connection, hold->request, false);
  if (progress == HANDSHAKE_DONE || progress == RESPONSE_DONE) hold->standing++;
  if (progress != FAILED) return;
  hold->failed++;
  if (hold->first_error[0] == '\0') memcpy(hold->first_error, connection->reason, sizeof hold->first_error);
  connection_close(connection);
}

static void hold_until_stdin_closes(struct hold* hold) {
  for (;;) {
    struct pollfd sources[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                {.fd = hold->client.epoll, .events = POLLIN}};
    poll(sources, 2, -1);
    if (sources[1].revents != 0) {
      struct epoll_event events[256];
      const int count = epoll_wait(hold->client.epoll, events, 256, 0);
      for (int i = 0; i < count; i++) {
        struct connection* connection = events[i].data.ptr;
        if (connection_continue(connection) != FAILED) continue;
        hold->standing--;
        hold->lost++;
        connection_close(connection);
      }
    }
    char byte;
    if (sources[0].revents != 0 && read(STDIN_FILENO, &byte, 1) <= 0) return;
  }
}

static void raise_file_limit(unsigned connections) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < connections + 16) {
    fprintf(stderr, "%u connections need a file limit of %u; it is %llu (ulimit -Hn)\n", connections,
            connections + 16, (unsigned long long)limit.rlim_cur);
    exit(1);
  }
}

static _Noreturn void usage(void) {
  fprintf(stderr,
          "usage: idle-hold [options] IPv4:PORT\n"
          "  --connections N      to hold (5000)\n"
          "  --at-a-time N        handshakes in progress (64)\n"
          "  --request            one keep-alive request on each connection before it idles\n%s",
          client_usage);
  exit(2);
}

static struct settings parse_settings(int argc, char** argv) {
  struct settings settings = {.client = default_client_options(), .connections = 5000, .at_a_time = 64};
  const struct option options[] = {{"connections", required_argument, NULL, 'c'},
                                   {"at-a-time", required_argument, NULL, 'a'},
                                   {"request", no_argument, NULL, 'q'},
                                   CLIENT_LONG_OPTIONS,
                                   {0}};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'c')
      settings.connections = (unsigned)atoi(optarg);
    else if (option == 'a')
      settings.at_a_time = (unsigned)atoi(optarg);
    else if (option == 'q')
      settings.request = true;
    else if (!parse_client_option(option, optarg, &settings.client))
      usage();
  }
  if (optind != argc - 1 || settings.connections == 0 || settings.at_a_time == 0) usage();
  parse_target(argv[optind], &settings.client);
  return settings;
}
