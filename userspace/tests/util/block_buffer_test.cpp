// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/block_buffer.h"

#include <array>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace gc::util {
namespace {

constexpr std::size_t chunk = BlockBuffer::chunk;

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A socket that the buffer is filled from.
class FromSocket : public testing::Test {
  protected:
    FromSocket() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        reader.reset(ends[0]);
        writer.reset(ends[1]);
    }
    /// Adds this many bytes of the same letter.
    void add(char letter, std::size_t size) {
        const std::string text(size, letter);
        for (std::size_t sent = 0; sent < size;) {
            const auto piece =
                std::span(text).subspan(sent).first(std::min<std::size_t>(size - sent, chunk / 4));
            ASSERT_TRUE(write_all(writer.get(), std::as_bytes(piece)));
            for (std::size_t got = 0; got < piece.size();)
                got += buffer.fill(reader.get(), piece.size() - got).value();
            sent += piece.size();
        }
    }

    UniqueFd reader, writer;
    BlockBuffer buffer;
};

TEST_F(FromSocket, KeepsWhatIsNotConsumed) {
    EXPECT_TRUE(buffer.bytes().empty());
    add('a', 3);
    buffer.keep(1);
    add('b', 2);
    EXPECT_EQ(text_of(buffer.bytes()), "abb");
    buffer.keep(0);
    EXPECT_TRUE(buffer.bytes().empty());
    writer.reset();
    EXPECT_EQ(buffer.fill(reader.get()).value(), 0U);
    EXPECT_FALSE(buffer.fill(-1));
}

TEST_F(FromSocket, GrowsWithTheRest) {
    std::string expected;
    for (char letter = 'a'; letter <= 'z'; ++letter) {
        add(letter, chunk);
        expected += std::string(chunk, letter);
        if (letter % 5 == 0) {
            expected.erase(0, expected.size() / 3);
            buffer.keep(expected.size());
        }
    }
    EXPECT_TRUE(text_of(buffer.bytes()) == expected);
}

TEST_F(FromSocket, LeavesWhatWasLentAsItIs) {
    std::vector<HeldBytes> held;
    std::vector<std::size_t> begins;
    for (char letter = 'a'; letter <= 'z'; ++letter) {
        add(letter, chunk + 7);
        held.push_back(buffer.lend());
        EXPECT_TRUE(held.back().contain(buffer.bytes()));
        held.back().bytes = buffer.bytes();
        buffer.keep(letter % 2 == 0 ? 5 : 0);
    }
    for (std::size_t i = 0; i < held.size(); ++i) {
        const std::string text = text_of(held[i].bytes);
        const std::string before(i > 0 && i % 2 == 0 ? 5 : 0, static_cast<char>('a' + i - 1));
        EXPECT_TRUE(text == before + std::string(chunk + 7, static_cast<char>('a' + i))) << i;
    }
}

TEST_F(FromSocket, UsesBlocksAgainThatNobodyHolds) {
    std::vector<const std::byte*> blocks;
    for (int i = 0; i < 64; ++i) {
        add('a', chunk);
        const HeldBytes lent = buffer.lend();
        if (std::ranges::find(blocks, lent.bytes.data()) == blocks.end())
            blocks.push_back(lent.bytes.data());
        buffer.keep(0);
    }
    EXPECT_LE(blocks.size(), 2U);
}

TEST(HeldBytes, ContainOnlyWhatIsWithin) {
    const std::array<std::byte, 8> bytes{};
    const HeldBytes held{std::span(bytes).subspan(2, 4), nullptr};
    EXPECT_TRUE(held.contain(held.bytes));
    EXPECT_TRUE(held.contain(std::span(bytes).subspan(3, 2)));
    EXPECT_FALSE(held.contain(std::span(bytes).subspan(1, 2)));
    EXPECT_FALSE(held.contain(std::span(bytes).subspan(5, 2)));
    EXPECT_FALSE(held.contain(std::span(bytes).subspan(3, 0)));
    EXPECT_FALSE(HeldBytes{}.contain(bytes));
}

TEST(BlockPool, ABlockMayOutliveIt) {
    BlockPool::Block block;
    {
        const BlockPool pool(16, 1);
        block = pool.take();
        const BlockPool::Block other = pool.take();
        EXPECT_NE(block, other);
    }
    block[15] = std::byte{1};
}

TEST(BlockPool, KeepsOnlySoManySpareOnes) {
    const BlockPool pool(16, 1);
    BlockPool::Block first = pool.take();
    BlockPool::Block second = pool.take();
    const std::byte* const kept = first.get();
    first.reset();
    second.reset();
    EXPECT_EQ(pool.take().get(), kept);
}

}  // namespace
}  // namespace gc::util
