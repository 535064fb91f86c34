// SPDX-License-Identifier: Apache-2.0
#include "tls_stream.h"

#include <cerrno>

namespace sealgate {

namespace {

// One SSL_* call: four records of plaintext and a little more, so that a full Read() takes one call.
constexpr size_t kBytesPerCall = size_t{80} * 1024;
// KeyUpdates in a row that nobody needs; each costs two key derivations. BoringSSL draws the line here as
// well.
constexpr int kMaxKeyUpdates = 32;

}  // namespace

std::unique_ptr<TlsStream> TlsStream::Create(int fd, std::vector<uint8_t>* egress,
                                             HandshakeDelegate* delegate) {
  const ErrorQueueScope errors;
  std::unique_ptr<TlsStream> stream(new TlsStream(fd, egress));
  stream->ssl_ = delegate->contexts().NewSsl(delegate);
  if (stream->ssl_ == nullptr) return nullptr;
  BIO* bio = NewTlsBio(&stream->io_);
  if (bio == nullptr) return nullptr;
  SSL_set_bio(stream->ssl(), bio, bio);  // takes the one reference for both directions
  return stream;
}

TlsStream::~TlsStream() {
  if (!suspended_) return;
  operation_.Cancel();
  Handshake();
}

TlsStream::Result TlsStream::Handshake() {
  const ErrorQueueScope errors;
  io_.allowance = kBytesPerCall;
  int result = 0;
  {
    const SignOperation::Scope scope(&operation_);
    result = SSL_do_handshake(ssl());
  }
  const int error = SSL_get_error(ssl(), result);
  const Result outcome = result == 1 ? Result::kDone : ResultOf(error);
  suspended_ = outcome == Result::kSuspended;
  if (operation_.state() == SignOperation::State::kSigned || outcome == Result::kDone) {
    // One signature a handshake: from here on nothing suspends, and jobs would only cost.
    SSL_clear_mode(ssl(), SSL_MODE_ASYNC);
  }
  if (outcome == Result::kDone) {
    CountKeyUpdates();
    ReleaseBuffers();
  }
  if (operation_.state() == SignOperation::State::kFailed) failure_ = "signature failed";
  if (SendEgress() == WriteResult::kBroken && outcome != Result::kFailed) {
    failure_ = "connection reset";
    return suspended_ ? outcome : Result::kFailed;
  }
  return outcome;
}

TlsStream::Result TlsStream::Read(std::span<uint8_t> out, size_t* size) {
  const ErrorQueueScope errors;
  io_.allowance = overloaded() ? 0 : kBytesPerCall;
  *size = 0;
  Result outcome = Result::kDone;
  while (*size < out.size()) {
    size_t n = 0;
    const int result = SSL_read_ex(ssl(), out.data() + *size, out.size() - *size, &n);
    if (result == 1) {
      *size += n;
      key_updates_ = 0;
      continue;
    }
    outcome = ResultOf(SSL_get_error(ssl(), result));
    break;
  }
  ReleaseBuffers();
  // Nothing follows our close_notify (RFC 8446 §6.1): a client that has closed its socket would reset it.
  if ((SSL_get_shutdown(ssl()) & SSL_SENT_SHUTDOWN) != 0) io_.egress->clear();
  // Reading may have made OpenSSL answer: a KeyUpdate, an alert. The kernel tells once what has broken the
  // connection: the next read would see a clean end. EPIPE says that the peer had ended before, and what it
  // has said is still to be read.
  if (SendEgress() == WriteResult::kBroken && errno != EPIPE) {
    if (io_.error == 0) io_.error = errno;
    if (outcome == Result::kWantRead) return ResultOf(SSL_ERROR_SYSCALL);
  }
  return outcome;
}

WriteResult TlsStream::Write(std::span<const uint8_t> plaintext) {
  const ErrorQueueScope errors;
  while (!plaintext.empty()) {
    size_t n = 0;
    // Our BIO takes everything: this does not ask for a retry.
    if (SSL_write_ex(ssl(), plaintext.data(), plaintext.size(), &n) != 1) {
      ResultOf(SSL_ERROR_SSL);
      io_.egress->clear();
      return WriteResult::kBroken;
    }
    plaintext = plaintext.subspan(n);
  }
  ReleaseBuffers();
  return SendEgress();
}

WriteResult TlsStream::Shutdown() {
  const ErrorQueueScope errors;
  if ((SSL_get_shutdown(ssl()) & SSL_SENT_SHUTDOWN) == 0) SSL_shutdown(ssl());
  return SendEgress();
}

// Of 16 KiB each, for one direction; both stay while a record is only partly read. SSL_MODE_RELEASE_BUFFERS
// does so after every record, also in a handshake: then what a connection keeps for life lands in the gaps,
// and after a burst of handshakes the allocator can give few of its pages back. Where SSL_free_buffers() is
// not safe, the contexts have that mode all the same.
void TlsStream::ReleaseBuffers() {
  if ((SSL_get_mode(ssl()) & SSL_MODE_RELEASE_BUFFERS) == 0) SSL_free_buffers(ssl());
}

// OpenSSL answers any number of them. After too many the next read of the socket fails.
void TlsStream::CountKeyUpdates() {
  SSL_set_msg_callback_arg(ssl(), this);
  SSL_set_msg_callback(ssl(), [](int sent, int /*version*/, int type, const void* message, size_t size,
                                 SSL* /*ssl*/, void* self) {
    if (sent != 0 || type != SSL3_RT_HANDSHAKE || size == 0) return;
    if (*static_cast<const uint8_t*>(message) != SSL3_MT_KEY_UPDATE) return;
    auto* stream = static_cast<TlsStream*>(self);
    if (++stream->key_updates_ > kMaxKeyUpdates) stream->io_.error = EPROTO;
  });
}

TlsStream::Result TlsStream::ResultOf(int error) {
  switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Result::kWantRead;
    case SSL_ERROR_WANT_ASYNC:
      return Result::kSuspended;
    case SSL_ERROR_ZERO_RETURN:
      return Result::kClosed;
    default:
      break;
  }
  if (io_.eof) {
    failure_ = "peer closed";
    return Result::kTruncated;
  }
  if (io_.error != 0) {
    failure_ = key_updates_ > kMaxKeyUpdates ? "too many key updates"
               : io_.error == ECONNRESET     ? "connection reset"
                                             : ErrnoText(io_.error);
    return Result::kFailed;
  }
  const std::vector<std::string> errors = TakeOpensslErrors();
  failure_ = errors.empty() ? "TLS error " + std::to_string(error) : errors.front();
  return Result::kFailed;
}

WriteResult TlsStream::SendEgress() {
  if (io_.egress->empty() && backlog_.empty()) return WriteResult::kDone;
  const WriteResult result = SendOrKeep(io_.fd, backlog_, *io_.egress);
  io_.egress->clear();
  return result;
}

}  // namespace sealgate
