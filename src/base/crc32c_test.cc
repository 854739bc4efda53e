#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

#include "base/test_random.h"

namespace vellum {
namespace {

TEST(Crc32c, KnownVectors) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);      // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending.push_back(c);
  EXPECT_EQ(Crc32c(ascending), 0x46DD794Eu);
  EXPECT_EQ(Crc32c("key"), 1084519789u);
}

TEST(Crc32c, AllWaysAgree) {
  auto random = SeededRandom();
  for (int i = 0; i < 300; ++i) {
    std::string bytes(random() % 300, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const auto cut = static_cast<std::size_t>(random() % (bytes.size() + 1));
    const std::string_view first = std::string_view(bytes).substr(0, cut), second = std::string_view(bytes).substr(cut);
    const std::uint32_t whole = Crc32c(bytes);
    EXPECT_EQ(ExtendCrc32cPortable(0, bytes), whole);
    EXPECT_EQ(ExtendCrc32c(Crc32c(first), second), whole);
    EXPECT_EQ(ExtendCrc32cPortable(ExtendCrc32cPortable(0, first), second), whole);
    EXPECT_EQ(CombineCrc32c(Crc32c(first), Crc32c(second), second.size()), whole);
  }
}

}  // namespace
}  // namespace vellum
