// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "openssl_ptr.h"

namespace sealgate {

// What OpenSSL reads from and writes to, for one connection.
//
// Reads go straight from the socket into OpenSSL's record buffer. Writes collect in the thread's buffer, so
// that all records of one SSL_* call leave in one system call; the connection sends them when the call
// returns.
//
// Borrows: the descriptor and the thread's buffer; the BIO points here, so this must outlive the SSL.
// Thread:  loop thread only.
struct TlsIo {
  int fd = -1;
  // A read that got less than it asked for has emptied the socket: no need to ask again before the next
  // readiness (epoll is level-triggered).
  bool drained = false;
  // Bytes that may still be read in this SSL_* call: OpenSSL reads on for as long as what it gets is no
  // plaintext.
  size_t allowance = 0;
  bool eof = false;
  int error = 0;  // errno of a read that failed
  std::vector<uint8_t>* egress = nullptr;
};

// Null when OpenSSL is out of memory. One BIO serves both directions; SSL_set_bio takes it.
[[nodiscard]] BIO* NewTlsBio(TlsIo* io);

}  // namespace sealgate
