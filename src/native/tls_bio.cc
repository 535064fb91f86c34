// SPDX-License-Identifier: Apache-2.0
#include "tls_bio.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace sealgate {

namespace {

int Read(BIO* bio, char* out, size_t capacity, size_t* size) {
  auto* io = static_cast<TlsIo*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *size = 0;
  if (io->eof || io->error != 0) return 0;
  if (io->drained || io->allowance == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  ssize_t n = 0;
  do {
    n = recv(io->fd, out, capacity, 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    *size = static_cast<size_t>(n);
    io->allowance -= std::min(io->allowance, *size);
    io->drained = *size < capacity;
    return 1;
  }
  if (n == 0) {
    io->eof = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    io->drained = true;
    BIO_set_retry_read(bio);
  } else {
    io->error = errno;
  }
  return 0;
}

int Write(BIO* bio, const char* bytes, size_t count, size_t* written) {
  auto* io = static_cast<TlsIo*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  io->egress->insert(io->egress->end(), bytes, bytes + count);
  *written = count;
  return 1;
}

long Control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return static_cast<TlsIo*>(BIO_get_data(bio))->eof;
    default:
      return 0;
  }
}

// Lives as long as the process: BIOs of any terminator may use it.
const BIO_METHOD* Method() {
  static const BioMethodPtr method = [] {
    BioMethodPtr made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sealgate socket"));
    BIO_meth_set_read_ex(made.get(), &Read);
    BIO_meth_set_write_ex(made.get(), &Write);
    BIO_meth_set_ctrl(made.get(), &Control);
    return made;
  }();
  return method.get();
}

}  // namespace

BIO* NewTlsBio(TlsIo* io) {
  BIO* bio = BIO_new(Method());
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, io);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace sealgate
