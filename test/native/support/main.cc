// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <csignal>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)  // clang
#define SEALGATE_FINDS_LEAKS
#endif
#elif defined(__SANITIZE_ADDRESS__)  // gcc
#define SEALGATE_FINDS_LEAKS
#endif
#ifdef SEALGATE_FINDS_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

namespace {

// A leak belongs to the test that made it, not to the end of the process.
class LeaksFailTheirTest final : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& /*info*/) override {
#ifdef SEALGATE_FINDS_LEAKS
    // The first one only: what has leaked is found again by every later check.
    if (leaked_ || __lsan_do_recoverable_leak_check() == 0) return;
    leaked_ = true;
    ADD_FAILURE() << "this test leaks";
#endif
  }

  [[maybe_unused]] bool leaked_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL's own client writes without MSG_NOSIGNAL
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  auto* printer = listeners.Release(listeners.default_result_printer());
  listeners.Append(new LeaksFailTheirTest());  // before the printer: events at the end come in reverse order
  listeners.Append(printer);
  return RUN_ALL_TESTS();
}
