// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "messages.h"

namespace sealgate {

// Finds threads and receivers by number, from any thread.
//
// The process's one piece of shared state, and the reason for it: every worker thread loads its own instance
// of the addon, yet its connections live on TLS threads that the main thread's instance started. Holds
// nothing alive: whoever made an inbox or a receiver owns it.
//
// A handle is sequence * kMaxThreads + the handshake thread's ordinal; below 2^53, so that JavaScript can
// hold it.
class Registry final {
 public:
  static constexpr uint64_t kMaxThreads = 1024;

  static Registry& Instance();

  // An ordinal for a new handshake thread and the relay thread behind it; -1 when there are kMaxThreads.
  int AddThread(const std::shared_ptr<Inbox>& handshakes, const std::shared_ptr<Inbox>& relays);
  void RemoveThread(int ordinal);
  uint32_t AddReceiver(const std::shared_ptr<Receiver>& receiver);
  [[nodiscard]] std::shared_ptr<Receiver> FindReceiver(uint32_t id);

  // Gives the command to the thread that has the connection when there may be such a command: FinishSign to
  // the handshake thread, others to the relay thread. False when that thread has gone.
  bool Send(Handle handle, Command command);

 private:
  struct Inboxes {
    std::weak_ptr<Inbox> handshakes;
    std::weak_ptr<Inbox> relays;
  };

  std::mutex mutex_;
  std::unordered_map<int, Inboxes> threads_;
  std::unordered_map<uint32_t, std::weak_ptr<Receiver>> receivers_;
  int next_ordinal_ = 0;
  uint32_t next_receiver_ = 1;
};

}  // namespace sealgate
