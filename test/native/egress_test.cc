// SPDX-License-Identifier: Apache-2.0
#include "egress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sealgate::test {
namespace {

constexpr size_t kPiece = size_t{32} * 1024;
constexpr size_t kUnsent = size_t{128} * 1024;

std::vector<uint8_t> Piece(size_t index) {
  return std::vector<uint8_t>(kPiece, static_cast<uint8_t>(index % 251));
}

TEST(Backlog, OfAPeerThatNeverTakesAllDoesNotGrow) {
  Backlog backlog;
  size_t appended = 0;
  size_t taken = 0;
  while (backlog.unsent().size() < kUnsent) backlog.Append(Piece(appended++));
  size_t most = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::vector<uint8_t> expected = Piece(taken++);
    const std::span<const uint8_t> first = backlog.unsent().first(kPiece);
    ASSERT_TRUE(std::equal(first.begin(), first.end(), expected.begin()));
    backlog.Consume(kPiece);
    backlog.Append(Piece(appended++));
    most = std::max(most, backlog.capacity());
  }

  EXPECT_EQ(backlog.unsent().size(), kUnsent);
  EXPECT_LE(most, 6 * kUnsent);  // as much again that was sent, a piece, and the vector's doubling
}

TEST(Backlog, HasNoMemoryOnceAllIsSent) {
  Backlog backlog;
  backlog.Append(Piece(0));
  backlog.Append(Piece(1));
  backlog.Consume(kPiece);
  EXPECT_FALSE(backlog.empty());

  backlog.Consume(kPiece);

  EXPECT_TRUE(backlog.empty());
  EXPECT_EQ(backlog.capacity(), size_t{0});
}

}  // namespace
}  // namespace sealgate::test
