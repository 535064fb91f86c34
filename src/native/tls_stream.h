// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uv.h>

#include <cstdint>
#include <span>
#include <string>

#include "contexts.h"
#include "egress.h"
#include "sign_operation.h"
#include "socket.h"
#include "tls_bio.h"

namespace sealgate {

// OpenSSL over one non-blocking socket: plaintext in and out, or a handshake that may be suspended.
//
// Owns:    the SSL, the suspended signature, and ciphertext that the socket did not take yet.
// Borrows: the descriptor, and the thread's egress buffer.
// Thread:  loop thread only. Never re-entered from inside an SSL_* call.
class TlsStream final {
 public:
  enum class Result : uint8_t {
    kDone,       // the handshake is complete; or bytes were read
    kWantRead,   // the socket has nothing more
    kSuspended,  // the handshake waits for its signature: see operation()
    kClosed,     // close_notify (RFC 8446 §6.1)
    kTruncated,  // end of file without close_notify
    kFailed,     // see failure(); an alert may be in the backlog
  };

  // Null when OpenSSL is out of memory.
  [[nodiscard]] static std::unique_ptr<TlsStream> Create(int fd, std::vector<uint8_t>* egress,
                                                         HandshakeDelegate* delegate);
  // Ends a suspended handshake first: OpenSSL would leak its job.
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  Result Handshake();
  [[nodiscard]] SignOperation& operation() { return operation_; }

  // Fills out as far as the socket allows; *size may be > 0 together with any result but kDone. kWantRead may
  // also mean that it was enough for one turn: what is left makes the socket readable again.
  Result Read(std::span<uint8_t> out, size_t* size);
  // Encrypts all of it. kBlocked: ciphertext waits in the backlog; write no more until Flush() says kDone.
  [[nodiscard]] WriteResult Write(std::span<const uint8_t> plaintext);
  // Sends close_notify.
  [[nodiscard]] WriteResult Shutdown();
  [[nodiscard]] WriteResult Flush() { return SendOrKeep(io_.fd, backlog_, {}); }

  // Of the thread that has it from now on.
  void UseEgress(std::vector<uint8_t>* egress) { io_.egress = egress; }
  // The socket has become readable: the next read asks it.
  void MarkReadable() { io_.drained = false; }
  [[nodiscard]] bool suspended() const { return suspended_; }
  [[nodiscard]] bool blocked() const { return !backlog_.empty(); }
  // What the socket must be watched for by somebody who wants to read.
  [[nodiscard]] int mask() const { return (overloaded() ? 0 : UV_READABLE) | (blocked() ? UV_WRITABLE : 0); }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }

 private:
  TlsStream(int fd, std::vector<uint8_t>* egress) { io_.fd = fd, io_.egress = egress; }
  // A peer that makes us answer (KeyUpdate) without taking the answers is not read any more. Twice what
  // Write() may leave behind, so that a slow reader may still send.
  [[nodiscard]] bool overloaded() const { return backlog_.unsent().size() > kUnsentLimit; }
  static constexpr size_t kUnsentLimit = size_t{128} * 1024;

  void CountKeyUpdates();
  void ReleaseBuffers();
  Result ResultOf(int error);
  WriteResult SendEgress();

  TlsIo io_;
  SignOperation operation_;
  Backlog backlog_;
  std::string failure_;
  bool suspended_ = false;
  int key_updates_ = 0;  // since the last plaintext
  SslPtr ssl_;           // last: its BIO points to io_
};

}  // namespace sealgate
