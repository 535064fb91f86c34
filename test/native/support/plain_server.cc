// SPDX-License-Identifier: Apache-2.0
#include "support/plain_server.h"

#include <sys/socket.h>

#include <stdexcept>

#include "support/front.h"
#include "support/tls_client.h"

namespace sealgate::test {

namespace {

UniqueFd Bound() {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress address = Loopback(0);
  if (bind(fd.get(), address.get(), address.size()) != 0) throw std::runtime_error("bind");
  return fd;
}

}  // namespace

PlainServer::PlainServer() : fd_(Bound()), port_(SocketAddress::Local(fd_.get()).port()) {
  if (listen(fd_.get(), 128) != 0) throw std::runtime_error("listen");
  GiveUpAfterPatience(fd_.get());  // for accept as well
}

void PlainServer::ShrinkWindows() { ShrinkWindow(fd_.get()); }

UniqueFd PlainServer::Accept() {
  UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (fd.valid()) GiveUpAfterPatience(fd.get());
  return fd;
}

uint16_t ClosedPort() { return SocketAddress::Local(Bound().get()).port(); }

}  // namespace sealgate::test
