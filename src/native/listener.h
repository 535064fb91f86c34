// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "messages.h"
#include "poller.h"
#include "socket.h"

namespace sealgate {

class TlsThread;

// Binds and listens: one socket of several on the same address (SO_REUSEPORT). The result is the socket or
// errno. exclusive: fail when anybody listens there already, with or without SO_REUSEPORT.
[[nodiscard]] std::variant<UniqueFd, int> OpenListeningSocket(const SocketAddress& address, bool exclusive);

// One thread's listening socket.
//
// Owns:   the socket. Thread: loop thread only.
class Listener final : public PollHandle::Target {
 public:
  // Null when the kernel refuses to watch the socket.
  [[nodiscard]] static std::unique_ptr<Listener> Create(TlsThread* thread, UniqueFd fd,
                                                        std::shared_ptr<ListenerState> state);
  // Takes what is in the backlog; the destructor would reset it.
  void AcceptAll();
  // After a pause for want of descriptors.
  void Resume() { poll_->Watch(UV_READABLE); }
  [[nodiscard]] uint32_t id() const { return state_->id; }

 private:
  Listener(TlsThread* thread, UniqueFd fd, std::shared_ptr<ListenerState> state)
      : thread_(thread), state_(std::move(state)), fd_(std::move(fd)) {}
  void OnPoll(PollHandle& handle, int status, int events) override;
  // False when there is nothing more to accept now.
  bool AcceptOne();

  TlsThread* thread_;
  std::shared_ptr<ListenerState> state_;
  UniqueFd fd_;
  std::unique_ptr<PollHandle> poll_;
};

}  // namespace sealgate
