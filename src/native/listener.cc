// SPDX-License-Identifier: Apache-2.0
#include "listener.h"

#include <sys/socket.h>

#include <cerrno>

#include "tls_thread.h"

namespace sealgate {

namespace {

constexpr int kBacklog = 4096;       // capped by net.core.somaxconn
constexpr int kAcceptsPerTurn = 64;  // then the open connections get their turn

}  // namespace

std::variant<UniqueFd, int> OpenListeningSocket(const SocketAddress& address, bool exclusive) {
  UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno;
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!exclusive) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (bind(fd.get(), address.get(), address.size()) != 0) return errno;
  if (listen(fd.get(), kBacklog) != 0) return errno;
  return fd;
}

std::unique_ptr<Listener> Listener::Create(TlsThread* thread, UniqueFd fd,
                                           std::shared_ptr<ListenerState> state) {
  std::unique_ptr<Listener> listener(new Listener(thread, std::move(fd), std::move(state)));
  listener->poll_ = PollHandle::Create(thread->poller(), listener->fd_.get(), UV_READABLE, listener.get());
  return listener->poll_ == nullptr ? nullptr : std::move(listener);
}

void Listener::OnPoll(PollHandle& /*handle*/, int /*status*/, int /*events*/) {
  for (int i = 0; i < kAcceptsPerTurn && AcceptOne(); ++i) {
  }
}

void Listener::AcceptAll() {
  while (AcceptOne()) {
  }
}

bool Listener::AcceptOne() {
  SocketAddress peer;
  socklen_t size = SocketAddress::kCapacity;
  UniqueFd fd(accept4(fd_.get(), peer.data(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd.valid()) {
    SetNoDelay(fd.get());
    thread_->Adopt(std::move(fd), peer, state_);
    return true;
  }
  switch (errno) {
    case EAGAIN:
#if EAGAIN != EWOULDBLOCK
    case EWOULDBLOCK:
#endif
      return false;
    case ECONNABORTED:
    case EINTR:
      return true;  // that one has left; the next may be there
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;  // so has that one: Linux passes on what its network said meanwhile, see accept(2)
    default:
      // Out of descriptors or memory. The connection stays in the backlog: asking again at once would spin.
      thread_->main().events.Push(AcceptFailed{state_->id, ErrnoText(errno)});
      poll_->Watch(0);
      thread_->ResumeListenersLater();
      return false;
  }
}

}  // namespace sealgate
