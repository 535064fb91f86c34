// A TLS client connection that never blocks: connect, handshake, tickets, HTTP/1.1 requests, close.
//
// Written in C because the client must cost less CPU than the server it measures. One `struct client` per
// thread: it owns an epoll instance and an SSL_CTX, so that threads share no lock.

#ifndef SEALGATE_BENCH_CLIENT_H
#define SEALGATE_BENCH_CLIENT_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct client_options {
  struct sockaddr_in server;
  char host[256];           // `host:port` as given, for the Host header
  const char* server_name;  // SNI; NULL sends none
  int tls_version;          // TLS1_2_VERSION or TLS1_3_VERSION
  const char* ciphers;      // OpenSSL's names for the chosen version; NULL: OpenSSL's default
  const char* sigalgs;      // e.g. "ECDSA+SHA256" or "rsa_pss_rsae_sha256"; NULL: OpenSSL's default
  const char* groups;       // e.g. "X25519"; NULL: OpenSSL's default
  const char* identity;     // PEM file with certificate and key to show when asked; NULL: none
  bool status_request;      // ask for a stapled OCSP response
  bool resume;              // offer the last session this slot was given
  bool read_ticket;         // TLS 1.3: established only once a session ticket has arrived
};

struct client {
  const struct client_options* options;
  int epoll;
  SSL_CTX* context;
  uint32_t next_source;  // spreads source addresses
};

enum phase { IDLE, CONNECTING, HANDSHAKING, AWAITING_TICKET, ESTABLISHED, SENDING, RECEIVING };

// What a step led to. Everything but WAITING is a milestone that the caller acts on.
enum progress { WAITING, HANDSHAKE_DONE, RESPONSE_DONE, FAILED };

enum failure {
  NO_FAILURE,
  CONNECT_FAILED,
  HANDSHAKE_FAILED,
  CLOSED_BY_PEER,
  BAD_RESPONSE,
  TIMED_OUT,
  FAILURES
};
extern const char* const failure_names[FAILURES];

struct connection {
  struct client* client;
  int fd;
  SSL* ssl;
  SSL_SESSION* session;  // newest ticket of this slot; outlives the connection
  enum phase phase;
  unsigned tickets;
  bool resumed;
  bool stapled;
  uint64_t opened_ns;
  uint64_t handshaken_ns;
  const char* request;
  bool until_eof;  // the response ends with close_notify, not with its Content-Length
  char head[2048];
  size_t head_length;
  uint64_t body_left;
  enum failure failure;
  char reason[200];
};

// Reads one option shared by all tools; false when it is not one of them.
bool parse_client_option(int option, const char* value, struct client_options* options);
#define CLIENT_LONG_OPTIONS                                                                 \
  {"server-name", required_argument, NULL, 'S'}, {"tls", required_argument, NULL, 'V'},     \
      {"ciphers", required_argument, NULL, 'C'}, {"sigalgs", required_argument, NULL, 'A'}, \
      {"groups", required_argument, NULL, 'G'}, {"read-ticket", no_argument, NULL, 'K'},    \
      {"identity", required_argument, NULL, 'I'}, {                                         \
    "status-request", no_argument, NULL, 'O'                                                \
  }
extern const char client_usage[];

struct client_options default_client_options(void);
// Ends the program when `target` is not `IPv4:port` (or `localhost:port`).
void parse_target(const char* target, struct client_options* options);

// Ends the program when OpenSSL refuses an option.
void client_init(struct client* client, const struct client_options* options);
void client_free(struct client* client);

// Opens a new TCP connection for this slot. Events carry the connection in `epoll_event.data.ptr`.
enum progress connection_open(struct connection* connection, struct client* client);

// Sends `request` (borrowed until RESPONSE_DONE) on an established connection.
enum progress connection_request(struct connection* connection, const char* request, bool until_eof);

// Goes as far as the socket allows. Edge-triggered: call it once for every event.
enum progress connection_continue(struct connection* connection);

// Sends close_notify when there is an established connection, then closes; the session stays. Idempotent.
void connection_close(struct connection* connection);

// Marks the connection as failed, for the caller's own reasons (a timeout).
enum progress connection_fail(struct connection* connection, enum failure failure, const char* reason);

#endif
