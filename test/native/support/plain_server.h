// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "socket.h"

namespace sealgate::test {

// An upstream of tcp mode: a listening socket whose connections the test serves by hand.
class PlainServer final {
 public:
  PlainServer();
  [[nodiscard]] uint16_t port() const { return port_; }
  // From now on a connection takes some 30 KB before it is read.
  void ShrinkWindows();
  // The next connection, blocking, with a receive timeout; invalid when none has come in time.
  [[nodiscard]] UniqueFd Accept();

 private:
  UniqueFd fd_;
  uint16_t port_ = 0;
};

// A port on which nobody listens.
[[nodiscard]] uint16_t ClosedPort();

}  // namespace sealgate::test
