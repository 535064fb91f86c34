// SPDX-License-Identifier: Apache-2.0
#include "egress.h"

#include <sys/socket.h>

#include <cerrno>

namespace sealgate {

namespace {

// Bytes sent; -1 when the socket is broken.
ssize_t SendSome(int fd, std::span<const uint8_t> bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      return n < 0 && errno != EAGAIN && errno != EWOULDBLOCK ? -1 : static_cast<ssize_t>(sent);
    }
  }
  return static_cast<ssize_t>(sent);
}

}  // namespace

// What was sent goes once it is more than what was not: a peer that takes a part each time and never all
// would make it grow without end.
void Backlog::Append(std::span<const uint8_t> bytes) {
  if (start_ > bytes_.size() / 2) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(start_));
    start_ = 0;
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Backlog::Consume(size_t count) {
  start_ += count;
  if (start_ < bytes_.size()) return;
  std::vector<uint8_t>().swap(bytes_);  // an assigned {} would be an empty list, and keep the memory
  start_ = 0;
}

WriteResult SendOrKeep(int fd, Backlog& backlog, std::span<const uint8_t> bytes) {
  if (!backlog.empty()) {
    const ssize_t n = SendSome(fd, backlog.unsent());
    if (n < 0) return WriteResult::kBroken;
    backlog.Consume(static_cast<size_t>(n));
  }
  if (backlog.empty() && !bytes.empty()) {
    const ssize_t n = SendSome(fd, bytes);
    if (n < 0) return WriteResult::kBroken;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  if (!bytes.empty()) backlog.Append(bytes);
  return backlog.empty() ? WriteResult::kDone : WriteResult::kBlocked;
}

}  // namespace sealgate
