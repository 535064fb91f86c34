// SPDX-License-Identifier: Apache-2.0
// A load generator: signatures of one key in a PKCS#11 module, on so many threads, as fast as it gives them.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "../../drill/pkcs11.h"
#include "../../native/mailbox.h"

namespace sealgate {

struct SignWork {
  const CK_FUNCTION_LIST* module = nullptr;  // initialized and logged in to for as long as the load lives
  CK_SLOT_ID slot = 0;
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG mechanism = 0;
  std::vector<uint8_t> parameter{};  // of the mechanism, as it stands in memory; empty: none
  std::vector<uint8_t> input{};      // of C_Sign
};

// One signature, or the attempt at one; ms since the start. rv: CKR_OK, or what the call that failed
// returned.
struct SignRecord {
  double started_ms;
  double ended_ms;
  double rv;
};

// Each thread has a session, as PKCS#11 wants it, and signs until its time is over; after a failure, with a
// fresh session.
//
// Owns:   its threads and their sessions.
// Thread: its maker's; records cross over in a mailbox.
// Ends:   the destructor waits for calls that are in the module.
class SignLoad final {
 public:
  explicit SignLoad(SignWork work) : work_(std::move(work)) {}
  ~SignLoad() { Join(); }
  SignLoad(const SignLoad&) = delete;
  SignLoad& operator=(const SignLoad&) = delete;

  // Once the threads of the last start have ended.
  void Start(uint32_t threads, double for_ms);
  // Threads that still sign. Ask before Take(): what is taken after a 0 is all there is.
  [[nodiscard]] uint32_t running() const { return running_; }
  // What has ended since the last call.
  [[nodiscard]] std::vector<SignRecord> Take() { return records_.TakeAll(); }

 private:
  void Run();
  [[nodiscard]] double SinceStartMs(uint64_t ns) const;
  void Join();

  const SignWork work_;
  Mailbox<SignRecord> records_{[] {}};  // nobody is woken: the reader comes by
  std::atomic<uint32_t> running_ = 0;
  std::atomic<bool> stopping_ = false;
  uint64_t start_ns_ = 0;
  uint64_t until_ns_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace sealgate
