// SPDX-License-Identifier: Apache-2.0
#include "sign_load.h"

#include <uv.h>

#include <array>
#include <chrono>
#include <utility>

namespace sealgate {

namespace {

constexpr double kNsPerMs = 1e6;
constexpr CK_FLAGS kSerialSession = 0x04;
// RSA-4096 has 512.
constexpr size_t kMaxSignatureBytes = 1024;
// A module that refuses at once must not be hammered.
constexpr std::chrono::milliseconds kFailedPause(20);

// CK_MECHANISM.
struct Mechanism {
  CK_ULONG type;
  CK_VOID_PTR parameter;
  CK_ULONG parameter_bytes;
};

// One thread's session and its own copies of what the module gets to see: nothing says that it only reads.
class Lane final {
 public:
  explicit Lane(const SignWork& work) : work_(work), parameter_(work.parameter), input_(work.input) {}
  ~Lane() { CloseSession(); }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  [[nodiscard]] CK_RV Sign() {
    CK_ULONG length = signature_.size();
    const CK_RV rv = work_.module->C_SignInit(session_, &mechanism_, work_.key);
    if (rv != CKR_OK) return rv;
    return work_.module->C_Sign(session_, input_.data(), input_.size(), signature_.data(), &length);
  }

  [[nodiscard]] CK_RV OpenSession() {
    if (open_) return CKR_OK;
    const CK_RV rv =
        work_.module->C_OpenSession(work_.slot, kSerialSession | CKF_RW_SESSION, nullptr, nullptr, &session_);
    open_ = rv == CKR_OK;
    return rv;
  }

  void CloseSession() {
    if (open_) work_.module->C_CloseSession(session_);  // it may be lost with whatever failed before
    open_ = false;
  }

 private:
  const SignWork& work_;
  std::vector<uint8_t> parameter_;
  std::vector<uint8_t> input_;
  Mechanism mechanism_{.type = work_.mechanism,
                       .parameter = parameter_.empty() ? nullptr : parameter_.data(),
                       .parameter_bytes = parameter_.size()};
  std::array<CK_BYTE, kMaxSignatureBytes> signature_{};
  CK_SESSION_HANDLE session_ = 0;
  bool open_ = false;
};

}  // namespace

void SignLoad::Start(uint32_t threads, double for_ms) {
  Join();
  stopping_ = false;
  start_ns_ = uv_hrtime();
  until_ns_ = start_ns_ + static_cast<uint64_t>(for_ms * kNsPerMs);
  running_ = threads;
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

void SignLoad::Run() {
  Lane lane(work_);
  while (!stopping_) {
    CK_RV rv = lane.OpenSession();
    const uint64_t started_ns = uv_hrtime();
    if (started_ns >= until_ns_) break;
    if (rv == CKR_OK) rv = lane.Sign();
    records_.Push({.started_ms = SinceStartMs(started_ns),
                   .ended_ms = SinceStartMs(uv_hrtime()),
                   .rv = static_cast<double>(rv)});
    if (rv == CKR_OK) continue;
    lane.CloseSession();
    std::this_thread::sleep_for(kFailedPause);
  }
  lane.CloseSession();
  --running_;
}

double SignLoad::SinceStartMs(uint64_t ns) const { return static_cast<double>(ns - start_ns_) / kNsPerMs; }

void SignLoad::Join() {
  stopping_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace sealgate
