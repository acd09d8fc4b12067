// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/record.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace gc::mirror {
namespace {

std::vector<std::byte> record(RecordKind kind, std::uint16_t nic, std::size_t size) {
    const auto head = record_head(kind, nic, size);
    std::vector<std::byte> bytes(head.begin(), head.end());
    for (std::size_t i = 0; i < size; ++i)
        bytes.push_back(static_cast<std::byte>(i));
    return bytes;
}

void give(RecordReader& reader, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, reader.room().begin());
    reader.received(bytes.size());
}

TEST(Record, IsReadInPieces) {
    auto bytes = record(RecordKind::packet, 258, 300);
    const auto second = record(RecordKind::left_out, 1, 0);
    bytes.insert(bytes.end(), second.begin(), second.end());
    RecordReader reader;
    std::vector<std::size_t> sizes;
    for (const std::byte byte : bytes) {
        give(reader, std::span(&byte, 1));
        const auto found = reader.next();
        ASSERT_TRUE(found);
        if (!*found)
            continue;
        EXPECT_EQ((*found)->nic, sizes.empty() ? 258 : 1);
        sizes.push_back((*found)->content.size());
    }
    EXPECT_EQ(sizes, (std::vector<std::size_t>{300, 0}));
}

TEST(Record, OfAnUnknownKindIsRefused) {
    RecordReader reader;
    give(reader, record(static_cast<RecordKind>(9), 0, 4));
    EXPECT_EQ(reader.next().error().kind, ErrorKind::protocol);
}

TEST(Record, ThatIsTooLongIsRefusedBeforeItArrives) {
    RecordReader reader;
    give(reader, record_head(RecordKind::packet, 0, max_packet + 1));
    EXPECT_EQ(reader.next().error().kind, ErrorKind::protocol);
}

TEST(Record, ThatIsTooShortIsRefused) {
    RecordReader reader;
    auto head = record_head(RecordKind::packet, 0, 0);
    head[3] = std::byte{1};
    give(reader, head);
    EXPECT_EQ(reader.next().error().kind, ErrorKind::protocol);
}

}  // namespace
}  // namespace gc::mirror
