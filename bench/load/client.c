#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

const char* const failure_names[FAILURES] = {"none", "connect", "handshake", "closed", "response", "timeout"};

static enum progress start_handshake(struct connection* connection);
static enum progress shake_hands(struct connection* connection);
static enum progress await_ticket(struct connection* connection);
static enum progress watch_idle(struct connection* connection);
static enum progress send_request(struct connection* connection);
static enum progress receive_response(struct connection* connection);
static enum progress fail_from_openssl(struct connection* connection, enum failure failure, int result);

enum progress connection_open(struct connection* connection, struct client* client) {
  connection->client = client;
  connection->phase = CONNECTING;
  connection->tickets = 0;
  connection->resumed = false;
  connection->stapled = false;
  connection->failure = NO_FAILURE;
  connection->opened_ns = now_ns();
  connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connection->fd < 0) return connection_fail(connection, CONNECT_FAILED, strerror(errno));

  const int on = 1;
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const struct sockaddr_in* server = &client->options->server;
  if ((ntohl(server->sin_addr.s_addr) >> 24) == 127) {
    // The client closes first and keeps the TIME_WAIT. 64,000 source addresses of the loopback network give
    // each its own port range, so that ports never run out and connections still end cleanly, without a
    // reset that the server would have to handle.
    const uint32_t n = client->next_source++ % 64000;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f010000u + (n / 250) * 256 + n % 250 + 1);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(connection->fd, (struct sockaddr*)&source, sizeof source) != 0)
      return connection_fail(connection, CONNECT_FAILED, strerror(errno));
  }

  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
  if (connect(connection->fd, (const struct sockaddr*)server, sizeof *server) != 0 && errno != EINPROGRESS)
    return connection_fail(connection, CONNECT_FAILED, strerror(errno));
  if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
    return connection_fail(connection, CONNECT_FAILED, strerror(errno));
  return WAITING;
}

enum progress connection_request(struct connection* connection, const char* request, bool until_eof) {
  connection->request = request;
  connection->until_eof = until_eof;
  connection->head_length = 0;
  connection->phase = SENDING;
  return send_request(connection);
}

enum progress connection_continue(struct connection* connection) {
  switch (connection->phase) {
    case CONNECTING:
      return start_handshake(connection);
    case HANDSHAKING:
      return shake_hands(connection);
    case AWAITING_TICKET:
      return await_ticket(connection);
    case ESTABLISHED:
      return watch_idle(connection);
    case SENDING:
      return send_request(connection);
    case RECEIVING:
      return receive_response(connection);
    case IDLE:
      break;
  }
  return WAITING;
}

void connection_close(struct connection* connection) {
  if (connection->ssl != NULL) {
    ERR_clear_error();
    if (SSL_is_init_finished(connection->ssl) && connection->failure == NO_FAILURE)
      SSL_shutdown(connection->ssl);
    SSL_free(connection->ssl);
    connection->ssl = NULL;
  }
  if (connection->phase != IDLE && connection->fd >= 0) close(connection->fd);
  connection->fd = -1;
  connection->phase = IDLE;
}

enum progress connection_fail(struct connection* connection, enum failure failure, const char* reason) {
  connection->failure = failure;
  snprintf(connection->reason, sizeof connection->reason, "%s", reason);
  return FAILED;
}

static enum progress start_handshake(struct connection* connection) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return connection_fail(connection, CONNECT_FAILED, strerror(error));

  const struct client_options* options = connection->client->options;
  connection->ssl = SSL_new(connection->client->context);
  if (connection->ssl == NULL) return fail_from_openssl(connection, HANDSHAKE_FAILED, 0);
  SSL_set_app_data(connection->ssl, connection);
  SSL_set_fd(connection->ssl, connection->fd);
  if (options->server_name != NULL) SSL_set_tlsext_host_name(connection->ssl, options->server_name);
  if (options->status_request) SSL_set_tlsext_status_type(connection->ssl, TLSEXT_STATUSTYPE_ocsp);
  if (options->resume && connection->session != NULL) SSL_set_session(connection->ssl, connection->session);
  connection->phase = HANDSHAKING;
  return shake_hands(connection);
}

static enum progress shake_hands(struct connection* connection) {
  ERR_clear_error();
  const int result = SSL_connect(connection->ssl);
  if (result != 1) return fail_from_openssl(connection, HANDSHAKE_FAILED, result);
  connection->handshaken_ns = now_ns();
  connection->resumed = SSL_session_reused(connection->ssl) != 0;
  const unsigned char* response = NULL;
  connection->stapled = SSL_get_tlsext_status_ocsp_resp(connection->ssl, &response) > 0;
  if (connection->resumed && !connection->client->options->resume)
    return connection_fail(connection, HANDSHAKE_FAILED, "resumed although no session was offered");
  connection->phase = AWAITING_TICKET;
  return await_ticket(connection);
}

// Tickets arrive after the handshake in TLS 1.3. Reading them proves that the server pays for them, and
// leaves nothing unread: closing a socket with unread bytes sends a reset.
static enum progress await_ticket(struct connection* connection) {
  const bool wanted =
      connection->client->options->read_ticket && SSL_version(connection->ssl) == TLS1_3_VERSION;
  if (wanted) {
    char byte;
    ERR_clear_error();
    const int result = SSL_read(connection->ssl, &byte, 1);
    if (result > 0) return connection_fail(connection, BAD_RESPONSE, "data before the first request");
    const enum progress progress = fail_from_openssl(connection, CLOSED_BY_PEER, result);
    if (progress == FAILED || connection->tickets == 0) return progress;
  }
  connection->phase = ESTABLISHED;
  return HANDSHAKE_DONE;
}

static enum progress watch_idle(struct connection* connection) {
  char byte;
  ERR_clear_error();
  const int result = SSL_read(connection->ssl, &byte, 1);
  if (result > 0) return connection_fail(connection, BAD_RESPONSE, "data without a request");
  return fail_from_openssl(connection, CLOSED_BY_PEER, result);
}

static enum progress send_request(struct connection* connection) {
  ERR_clear_error();
  const int result = SSL_write(connection->ssl, connection->request, (int)strlen(connection->request));
  if (result <= 0) return fail_from_openssl(connection, CLOSED_BY_PEER, result);
  connection->phase = RECEIVING;
  return receive_response(connection);
}

// Takes the head of a response apart once it is complete: status 200 and a Content-Length, nothing else.
// Returns the number of body bytes already in the buffer, or -1.
static long parse_head(struct connection* connection) {
  const char* body = strstr(connection->head, "\r\n\r\n");
  if (body == NULL || strncmp(connection->head, "HTTP/1.1 200 ", 13) != 0) return -1;
  body += 4;
  for (const char* line = connection->head; line < body; line = strstr(line, "\r\n") + 2) {
    if (strncasecmp(line, "content-length:", 15) != 0) continue;
    connection->body_left = strtoull(line + 15, NULL, 10);
    return (long)(connection->head_length - (size_t)(body - connection->head));
  }
  return -1;
}

static enum progress receive_response(struct connection* connection) {
  static __thread char sink[16384];
  for (;;) {
    const bool in_head = connection->head_length == 0 || strstr(connection->head, "\r\n\r\n") == NULL;
    char* into = in_head ? connection->head + connection->head_length : sink;
    const size_t space = in_head ? sizeof connection->head - connection->head_length - 1 : sizeof sink;
    if (space == 0) return connection_fail(connection, BAD_RESPONSE, "response head too large");

    ERR_clear_error();
    const int result = SSL_read(connection->ssl, into, (int)space);
    if (result <= 0) {
      const bool complete = !in_head && connection->body_left == 0;
      if (complete && connection->until_eof &&
          SSL_get_error(connection->ssl, result) == SSL_ERROR_ZERO_RETURN) {
        connection->phase = ESTABLISHED;
        return RESPONSE_DONE;
      }
      return fail_from_openssl(connection, CLOSED_BY_PEER, result);
    }

    long body = result;
    if (in_head) {
      connection->head_length += (size_t)result;
      connection->head[connection->head_length] = '\0';
      if (strstr(connection->head, "\r\n\r\n") == NULL) continue;
      body = parse_head(connection);
      if (body < 0) return connection_fail(connection, BAD_RESPONSE, "not a 200 with a Content-Length");
    }
    if ((uint64_t)body > connection->body_left)
      return connection_fail(connection, BAD_RESPONSE, "more bytes than the Content-Length");
    connection->body_left -= (uint64_t)body;
    if (connection->body_left == 0 && !connection->until_eof) {
      connection->phase = ESTABLISHED;
      return RESPONSE_DONE;
    }
  }
}

// WAITING when OpenSSL only wants the socket; otherwise a failure with OpenSSL's words.
static enum progress fail_from_openssl(struct connection* connection, enum failure failure, int result) {
  const int error = SSL_get_error(connection->ssl, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return WAITING;
  if (error == SSL_ERROR_ZERO_RETURN) return connection_fail(connection, CLOSED_BY_PEER, "close_notify");
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  if (reason == NULL) reason = errno != 0 ? strerror(errno) : "connection closed";
  return connection_fail(connection, failure, reason);
}

// OpenSSL's new-session callback: 1 keeps the reference, 0 gives it back.
static int on_ticket(SSL* ssl, SSL_SESSION* session) {
  struct connection* connection = SSL_get_app_data(ssl);
  connection->tickets++;
  if (!connection->client->options->resume) return 0;
  SSL_SESSION_free(connection->session);
  connection->session = session;
  return 1;
}

static void require(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "OpenSSL refuses %s\n", what);
  exit(2);
}

void client_init(struct client* client, const struct client_options* options) {
  *client = (struct client){.options = options, .epoll = epoll_create1(EPOLL_CLOEXEC)};
  if (client->epoll < 0) die("epoll_create1");
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  require(context != NULL, "a client context");
  SSL_CTX_set_min_proto_version(context, options->tls_version);
  SSL_CTX_set_max_proto_version(context, options->tls_version);
  if (options->ciphers != NULL) {
    const bool tls13 = options->tls_version == TLS1_3_VERSION;
    require(tls13 ? SSL_CTX_set_ciphersuites(context, options->ciphers)
                  : SSL_CTX_set_cipher_list(context, options->ciphers),
            "--ciphers");
  }
  if (options->sigalgs != NULL) require(SSL_CTX_set1_sigalgs_list(context, options->sigalgs), "--sigalgs");
  if (options->groups != NULL) require(SSL_CTX_set1_groups_list(context, options->groups), "--groups");
  if (options->identity != NULL) {
    require(SSL_CTX_use_certificate_chain_file(context, options->identity), "the certificate of --identity");
    require(SSL_CTX_use_PrivateKey_file(context, options->identity, SSL_FILETYPE_PEM),
            "the key of --identity");
  }
  // The chain is not checked (a self-signed certificate); CertificateVerify always is, so a wrong signature
  // fails the handshake.
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, on_ticket);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  client->context = context;
}

void client_free(struct client* client) {
  SSL_CTX_free(client->context);
  close(client->epoll);
}

struct client_options default_client_options(void) {
  return (struct client_options){.server_name = "localhost", .tls_version = TLS1_3_VERSION};
}

bool parse_client_option(int option, const char* value, struct client_options* options) {
  switch (option) {
    case 'S':
      options->server_name = value;
      return true;
    case 'V':
      options->tls_version = strcmp(value, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
      return true;
    case 'C':
      options->ciphers = value;
      return true;
    case 'A':
      options->sigalgs = value;
      return true;
    case 'G':
      options->groups = value;
      return true;
    case 'K':
      options->read_ticket = true;
      return true;
    case 'I':
      options->identity = value;
      return true;
    case 'O':
      options->status_request = true;
      return true;
    default:
      return false;
  }
}

void parse_target(const char* target, struct client_options* options) {
  const char* colon = strrchr(target, ':');
  char address[64] = "127.0.0.1";
  if (colon != NULL && strncmp(target, "localhost:", 10) != 0)
    snprintf(address, sizeof address, "%.*s", (int)(colon - target), target);
  options->server.sin_family = AF_INET;
  const int port = colon == NULL ? 0 : atoi(colon + 1);
  if (port <= 0 || port > 65535 || inet_pton(AF_INET, address, &options->server.sin_addr) != 1) {
    fprintf(stderr, "not an IPv4 address with a port: %s\n", target);
    exit(2);
  }
  options->server.sin_port = htons((uint16_t)port);
  snprintf(options->host, sizeof options->host, "%s", target);
}

const char client_usage[] =
    "  --server-name NAME   SNI (localhost)\n"
    "  --tls 1.2|1.3        version (1.3)\n"
    "  --ciphers LIST       cipher suites, OpenSSL's names\n"
    "  --sigalgs LIST       signature algorithms: ECDSA+SHA256 for an EC certificate, rsa_pss_rsae_sha256 "
    "for RSA\n"
    "  --groups LIST        key exchange groups\n"
    "  --read-ticket        TLS 1.3: wait for a session ticket, so that the server really sends them\n"
    "  --identity FILE      PEM with the client certificate and its key\n"
    "  --status-request     ask for a stapled OCSP response\n";
