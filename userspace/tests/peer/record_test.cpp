// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/record.h"

#include "bytes_of.h"

#include <gtest/gtest.h>
#include <string_view>

namespace gc::peer {
namespace {

TEST(Record, HeadsAreReadAsTheyWereWritten) {
    for (const RecordHead head :
         {RecordHead{RecordKind::resume, 0, 0, 0}, RecordHead{RecordKind::data, 1, 1ULL << 63, 7},
          RecordHead{RecordKind::data, max_record, 0x0102030405060708, 0xffffffff},
          RecordHead{RecordKind::end, 0, ~0ULL, 0}, RecordHead{RecordKind::ack, 0, 20, 0},
          RecordHead{RecordKind::stop, 0, 0, 0}, RecordHead{RecordKind::closed, 0, 0, 0}})
        EXPECT_EQ(decode(encode(head)).value(), head);
}

TEST(Record, TheFormIsTheDocumentedOne) {
    const auto bytes = encode({RecordKind::data, 0x1234, 0x0102030405060708, 0xaabbccdd});
    const std::array<unsigned, 16> expected{2, 0, 0x12, 0x34, 1,    2,    3,    4,
                                            5, 6, 7,    8,    0xaa, 0xbb, 0xcc, 0xdd};
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_EQ(std::to_integer<unsigned>(bytes[i]), expected[i]) << i;
}

TEST(Record, EachChangedBitIsFound) {
    const auto good = encode({RecordKind::data, 4096, 123456789, 0x12345678});
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        auto bad = good;
        bad[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        EXPECT_FALSE(decode(bad)) << bit;
    }
}

TEST(Record, InvalidHeadsAreRefused) {
    for (const RecordHead head :
         {RecordHead{static_cast<RecordKind>(0), 0, 0, 0},
          RecordHead{static_cast<RecordKind>(7), 0, 0, 0}, RecordHead{RecordKind::data, 0, 0, 0},
          RecordHead{RecordKind::data, max_record + 1, 0, 0},
          RecordHead{RecordKind::ack, 1, 0, 0}}) {
        const auto decoded = decode(encode(head));
        ASSERT_FALSE(decoded);
        EXPECT_EQ(decoded.error().kind, ErrorKind::protocol);
    }
}

TEST(Crc32c, TheStandardsExamples) {
    EXPECT_EQ(crc32c({}), 0U);
    EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283U);
    const std::array<std::byte, 32> zeros{};  // RFC 3720, appendix B.4, in its byte order
    EXPECT_EQ(crc32c(zeros), 0x8a9136aaU);
}

TEST(Crc32c, PartsGiveTheSameAsTheWhole) {
    EXPECT_EQ(crc32c(bytes_of("6789"), crc32c(bytes_of("12345"))), crc32c(bytes_of("123456789")));
}

}  // namespace
}  // namespace gc::peer
