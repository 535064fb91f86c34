// SPDX-License-Identifier: Apache-2.0
#include "sign_operation.h"

#include <openssl/async.h>
#include <openssl/crypto.h>

#include <utility>

namespace sealgate {

namespace {
// OpenSSL gives a provider no way to know for which SSL it signs: the connection says so before each call.
thread_local SignOperation* current = nullptr;
}  // namespace

SignOperation::~SignOperation() {
  OPENSSL_cleanse(message_.data(), message_.size());
  OPENSSL_cleanse(signature_.data(), signature_.size());
}

std::optional<std::span<const uint8_t>> SignOperation::Sign(uint32_t key_id, uint16_t scheme,
                                                            std::span<const uint8_t> message) {
  // Without a job there is nothing to suspend, and a second signature in one handshake is not TLS.
  if (state_ != State::kNone || ASYNC_get_current_job() == nullptr) return std::nullopt;
  key_id_ = key_id;
  scheme_ = scheme;
  message_.assign(message.begin(), message.end());
  state_ = State::kWanted;
  while (pending()) {
    if (ASYNC_pause_job() == 0) state_ = State::kFailed;
  }
  if (state_ != State::kSigned) return std::nullopt;
  return std::span<const uint8_t>(signature_);
}

std::vector<uint8_t> SignOperation::TakeMessage() {
  state_ = State::kRequested;
  return std::exchange(message_, {});
}

bool SignOperation::Finish(std::span<const uint8_t> signature) {
  if (!pending()) return false;
  signature_.assign(signature.begin(), signature.end());
  state_ = signature.empty() ? State::kFailed : State::kSigned;
  return true;
}

void SignOperation::Cancel() {
  if (pending() || state_ == State::kSigned) state_ = State::kFailed;
}

SignOperation* SignOperation::Current() { return current; }

SignOperation::Scope::Scope(SignOperation* operation) { current = operation; }
SignOperation::Scope::~Scope() { current = nullptr; }

}  // namespace sealgate
