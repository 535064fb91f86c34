// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace sealgate {

// The private-key operation of one handshake, from the moment OpenSSL asks for it to the moment it goes on.
//
// Owns:    a copy of the message to sign, and the signature; both cleansed on destruction.
// Borrows: nothing. It lives in the Connection, which resumes the suspended handshake before it dies.
// Thread:  loop thread only, on either stack (the loop's or the suspended job's).
// Ends:    exactly once, by Finish() or Cancel(); only the first of them counts. A connection that goes takes
//          a signature back that has come and is not fetched yet.
class SignOperation final {
 public:
  enum class State : uint8_t { kNone, kWanted, kRequested, kSigned, kFailed };

  SignOperation() = default;
  ~SignOperation();
  SignOperation(const SignOperation&) = delete;
  SignOperation& operator=(const SignOperation&) = delete;

  // Called by the provider, on the job's stack: suspends the job until the operation has ended.
  [[nodiscard]] std::optional<std::span<const uint8_t>> Sign(uint32_t key_id, uint16_t scheme,
                                                             std::span<const uint8_t> message);

  // The message moves to the caller, who now owes a Finish() or Cancel(). State must be kWanted.
  [[nodiscard]] std::vector<uint8_t> TakeMessage();
  // An empty signature fails the operation. False: it had ended already.
  bool Finish(std::span<const uint8_t> signature);
  // For a handshake that is suspended: it must not go on when it is resumed for the last time.
  void Cancel();

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool pending() const { return state_ == State::kWanted || state_ == State::kRequested; }
  [[nodiscard]] uint32_t key_id() const { return key_id_; }
  [[nodiscard]] uint16_t scheme() const { return scheme_; }

  // The operation of the connection whose SSL_* call is running on this thread; null outside of one.
  [[nodiscard]] static SignOperation* Current();

  // Makes an operation current while an SSL_* call runs.
  class Scope final {
   public:
    explicit Scope(SignOperation* operation);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

 private:
  State state_ = State::kNone;
  uint16_t scheme_ = 0;
  uint32_t key_id_ = 0;
  std::vector<uint8_t> message_;
  std::vector<uint8_t> signature_;
};

}  // namespace sealgate
