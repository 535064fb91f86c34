// SPDX-License-Identifier: Apache-2.0
#include "contexts.h"

#include <gtest/gtest.h>

namespace sealgate::test {
namespace {

// As OPENSSL_VERSION_NUMBER has it since 3.0.
constexpr unsigned long Version(unsigned long major, unsigned long minor, unsigned long patch) {
  return major << 28 | minor << 20 | patch << 4;
}

// https://openssl-library.org/news/vulnerabilities/#CVE-2024-4741
TEST(FreesBuffersSafely, FromTheFixedReleaseOfEachSeriesOn) {
  EXPECT_FALSE(FreesBuffersSafely(Version(3, 0, 0)));
  EXPECT_FALSE(FreesBuffersSafely(Version(3, 0, 13)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 0, 14)));
  EXPECT_FALSE(FreesBuffersSafely(Version(3, 1, 5)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 1, 6)));
  EXPECT_FALSE(FreesBuffersSafely(Version(3, 2, 1)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 2, 2)));
  EXPECT_FALSE(FreesBuffersSafely(Version(3, 3, 0)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 3, 1)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 4, 0)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 5, 0)));
  EXPECT_TRUE(FreesBuffersSafely(Version(3, 5, 4)));
  EXPECT_TRUE(FreesBuffersSafely(Version(4, 0, 0)));
}

TEST(FreesBuffersSafely, NotBeforeTheFirstSeriesThatIsKnown) {
  EXPECT_FALSE(FreesBuffersSafely(0x1010117fUL));  // 1.1.1w
}

}  // namespace
}  // namespace sealgate::test
