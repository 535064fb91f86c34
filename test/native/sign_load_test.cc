// SPDX-License-Identifier: Apache-2.0
// Signatures on many threads: a session for each, every attempt recorded once, and nothing left open. Also
// under ThreadSanitizer.
#include "sign_load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace sealgate::test {
namespace {

constexpr CK_SLOT_ID kSlot = 7;
constexpr CK_OBJECT_HANDLE kKey = 11;
constexpr CK_ULONG kMechanism = 0xd;
constexpr CK_RV kDeviceError = 0x30;
constexpr double kMs = 500;  // so long that every thread gets its turn, also beside others

// A PKCS#11 module that counts. One for each test, since its functions have no argument to find it by.
struct Token {
  std::atomic<CK_SESSION_HANDLE> last_session = 0;
  std::atomic<int> open_sessions = 0;
  std::atomic<int> opened = 0;
  std::atomic<int> signatures = 0;
  std::atomic<int> misuses = 0;     // two calls at once in one session, or other arguments than were given
  std::atomic<int> fail_every = 0;  // every so many C_Sign fail; 0: none
  std::array<std::atomic<bool>, 4096> busy{};
};
Token* token = nullptr;

struct Mechanism {
  CK_ULONG type;
  const uint8_t* parameter;
  CK_ULONG parameter_bytes;
};
const std::vector<uint8_t> kParameter{1, 2, 3};
const std::vector<uint8_t> kInput{4, 5, 6, 7};

CK_RV OpenSession(CK_SLOT_ID slot, CK_FLAGS /*flags*/, CK_VOID_PTR, CK_VOID_PTR, CK_SESSION_HANDLE* session) {
  if (slot != kSlot) ++token->misuses;
  *session = ++token->last_session;
  ++token->open_sessions;
  ++token->opened;
  return CKR_OK;
}

CK_RV CloseSession(CK_SESSION_HANDLE /*session*/) {
  --token->open_sessions;
  return CKR_OK;
}

CK_RV SignInit(CK_SESSION_HANDLE session, CK_VOID_PTR mechanism, CK_OBJECT_HANDLE key) {
  const auto* given = static_cast<const Mechanism*>(mechanism);
  const bool same = given->type == kMechanism && given->parameter_bytes == kParameter.size() &&
                    std::equal(kParameter.begin(), kParameter.end(), given->parameter);
  if (!same || key != kKey || token->busy[session % token->busy.size()].exchange(true)) ++token->misuses;
  return CKR_OK;
}

CK_RV Sign(CK_SESSION_HANDLE session, CK_BYTE* data, CK_ULONG data_bytes, CK_BYTE* signature,
           CK_ULONG* signature_bytes) {
  if (data_bytes != kInput.size() || !std::equal(kInput.begin(), kInput.end(), data)) ++token->misuses;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (!token->busy[session % token->busy.size()].exchange(false)) ++token->misuses;
  const int number = ++token->signatures;
  if (token->fail_every > 0 && number % token->fail_every == 0) return kDeviceError;
  std::memset(signature, 0, *signature_bytes);
  *signature_bytes = 64;
  return CKR_OK;
}

class SignLoadTest : public ::testing::Test {
 protected:
  SignLoadTest() {
    token = &token_;
    module_.C_OpenSession = OpenSession;
    module_.C_CloseSession = CloseSession;
    module_.C_SignInit = SignInit;
    module_.C_Sign = Sign;
  }

  [[nodiscard]] SignWork Work() const {
    return {.module = &module_,
            .slot = kSlot,
            .key = kKey,
            .mechanism = kMechanism,
            .parameter = kParameter,
            .input = kInput};
  }

  // All records, taken while it runs.
  [[nodiscard]] static std::vector<SignRecord> TakeToTheEnd(SignLoad& load) {
    std::vector<SignRecord> records;
    for (bool last = false; !last;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      last = load.running() == 0;
      for (const SignRecord& record : load.Take()) records.push_back(record);
    }
    return records;
  }

  Token token_;
  CK_FUNCTION_LIST module_{};
};

TEST_F(SignLoadTest, GivesEachThreadASessionAndRecordsEachSignatureOnce) {
  SignLoad load(Work());
  load.Start(4, kMs);
  const auto records = TakeToTheEnd(load);

  EXPECT_EQ(records.size(), static_cast<size_t>(token_.signatures));
  EXPECT_GT(records.size(), 4U);
  EXPECT_EQ(token_.opened, 4);
  EXPECT_EQ(token_.open_sessions, 0);
  EXPECT_EQ(token_.misuses, 0);
  for (const auto& [started_ms, ended_ms, rv] : records) {
    EXPECT_EQ(rv, 0);
    EXPECT_GE(started_ms, 0);
    EXPECT_LT(started_ms, kMs);
    EXPECT_GE(ended_ms - started_ms, 1);
  }
}

TEST_F(SignLoadTest, GoesOnWithAFreshSessionAfterAFailureAndSaysWhatItWas) {
  token_.fail_every = 3;
  SignLoad load(Work());
  load.Start(2, kMs);
  const auto records = TakeToTheEnd(load);

  const auto failed = std::ranges::count_if(
      records, [](const SignRecord& record) { return record.rv == double{kDeviceError}; });
  EXPECT_EQ(records.size(), static_cast<size_t>(token_.signatures));
  EXPECT_EQ(failed, token_.signatures / 3);
  EXPECT_GT(token_.opened, 2);
  EXPECT_LE(token_.opened, 2 + failed);
  EXPECT_EQ(token_.open_sessions, 0);
  EXPECT_EQ(token_.misuses, 0);
}

TEST_F(SignLoadTest, StartsAgainWithOtherThreadsAndTimesOfItsOwn) {
  SignLoad load(Work());
  load.Start(1, kMs);
  EXPECT_FALSE(TakeToTheEnd(load).empty());
  load.Start(3, kMs);
  const auto records = TakeToTheEnd(load);

  EXPECT_EQ(token_.opened, 1 + 3);
  ASSERT_FALSE(records.empty());
  EXPECT_LT(records.front().started_ms, kMs / 2);
}

TEST_F(SignLoadTest, IsOverWhenItIsDestroyed) {
  {
    SignLoad load(Work());
    load.Start(2, 1e9);
    while (token_.signatures < 4) std::this_thread::yield();
  }
  const int signatures = token_.signatures;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(token_.signatures, signatures);
  EXPECT_EQ(token_.open_sessions, 0);
}

}  // namespace
}  // namespace sealgate::test
