// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "socket.h"

namespace sealgate {

// How many connections each client has open on one listener, at most `limit`.
//
// Exact: a client's connections are accepted by whichever thread the kernel chooses, so all threads count in
// one place. It is divided by address, and a part is locked for one look at a hash table: 0.1 µs of the
// hundreds that a handshake takes. A client without a connection takes no memory.
//
// A client is an IPv4 address or an IPv6 /64: a host with IPv6 has a whole /64 to choose from (RFC 6177).
//
// Thread: any.
class AddressLimit final {
 public:
  // One connection, for as long as it lives. Borrows the AddressLimit.
  class Place final {
   public:
    Place(Place&& other) noexcept : limit_(std::exchange(other.limit_, nullptr)), client_(other.client_) {}
    Place& operator=(Place&& other) = delete;
    ~Place() {
      if (limit_ != nullptr) limit_->Leave(client_);
    }

   private:
    friend class AddressLimit;
    using Client = std::array<uint8_t, 16>;
    Place(AddressLimit* limit, const Client& client) : limit_(limit), client_(client) {}

    AddressLimit* limit_;
    Client client_;
  };

  // 0: no limit, and nothing is counted.
  explicit AddressLimit(uint32_t limit) : limit_(limit) {}

  [[nodiscard]] bool holds() const { return limit_ > 0; }
  // None: the client has as many as it may.
  [[nodiscard]] std::optional<Place> Enter(const SocketAddress& address);
  // Clients that have a connection.
  [[nodiscard]] size_t clients() const;

 private:
  using Client = Place::Client;
  // Seeded: whoever owns a /32 must not be able to choose addresses that fall into one bucket.
  struct Hash {
    size_t operator()(const Client& client) const;
  };
  struct Part {
    mutable std::mutex mutex;
    std::unordered_map<Client, uint32_t, Hash> open;
  };

  void Leave(const Client& client);
  [[nodiscard]] Part& PartOf(const Client& client) { return parts_[Hash()(client) % parts_.size()]; }

  const uint32_t limit_;
  std::array<Part, 16> parts_;
};

}  // namespace sealgate
