// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/retained.h"

#include "bytes_of.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>

namespace gc::peer {
namespace {

/// The pieces as text; a part of a file as <file:offset+size>.
std::string text_of(const std::vector<Piece>& pieces) {
    std::string text;
    for (const Piece& piece : pieces) {
        if (piece.file < 0)
            text.append(reinterpret_cast<const char*>(piece.memory.data()), piece.memory.size());
        else
            text += '<' + std::to_string(piece.file) + ':' + std::to_string(piece.offset) + '+' +
                    std::to_string(piece.file_size) + '>';
    }
    return text;
}

TEST(Retained, KeepsWhatIsWrittenInOrder) {
    Retained retained;
    const std::string frozen = "frozen";
    retained.copy(bytes_of("head,"));
    retained.refer({.memory = bytes_of(frozen)});
    retained.refer({.memory = {}, .file = 3, .offset = 4096, .file_size = 10});
    retained.copy(bytes_of(",tail"));
    EXPECT_EQ(retained.end(), 26U);
    EXPECT_EQ(retained.copied(), 10U);
    EXPECT_EQ(text_of(retained.pieces(0, 100)), "head,frozen<3:4096+10>,tail");
    EXPECT_EQ(text_of(retained.pieces(3, 4)), "d,fr");
    EXPECT_EQ(text_of(retained.pieces(14, 9)), "<3:4099+7>,t");
    EXPECT_EQ(text_of(retained.pieces(26, 9)), "");
    EXPECT_EQ(retained.pieces(5, 1)[0].memory.data(), bytes_of(frozen).data()) << "was copied";
}

TEST(Retained, DropsUpToAPosition) {
    Retained retained;
    retained.copy(bytes_of("abc"));
    const std::string frozen = "DEF";
    retained.refer({.memory = bytes_of(frozen)});
    retained.drop(2);
    EXPECT_EQ(retained.begin(), 2U);
    EXPECT_EQ(retained.copied(), 1U);
    EXPECT_EQ(text_of(retained.pieces(2, 100)), "cDEF");
    retained.drop(4);
    EXPECT_EQ(retained.copied(), 0U);
    EXPECT_EQ(text_of(retained.pieces(4, 100)), "EF");
    retained.drop(100);
    EXPECT_EQ(retained.begin(), 6U);
    retained.copy(bytes_of("gh"));
    EXPECT_EQ(text_of(retained.pieces(6, 100)), "gh");
}

TEST(Retained, HoldsOwnersUntilTheirBytesAreDropped) {
    Retained retained;
    const auto owner = std::make_shared<std::string>("abcdef");
    retained.copy(bytes_of("["));
    retained.hold(bytes_of(*owner).first(3), owner);
    retained.hold(bytes_of(*owner).subspan(3), owner);
    retained.hold({}, owner);
    retained.copy(bytes_of("]"));
    EXPECT_EQ(retained.copied(), 8U) << "it takes memory, too";
    EXPECT_EQ(owner.use_count(), 3);
    EXPECT_EQ(text_of(retained.pieces(0, 100)), "[abcdef]");
    EXPECT_EQ(retained.pieces(2, 1)[0].memory.data(), bytes_of(*owner).data() + 1) << "was copied";
    retained.drop(3);
    EXPECT_EQ(owner.use_count(), 3) << "a byte of it is left";
    retained.drop(4);
    EXPECT_EQ(owner.use_count(), 2);
    retained.drop(8);
    EXPECT_EQ(owner.use_count(), 1);
    EXPECT_EQ(retained.copied(), 0U);
}

TEST(Retained, SmallCopiesShareMemory) {
    Retained retained;
    std::string expected;
    for (int i = 0; i < 100000; ++i) {
        const std::string text = std::to_string(i);
        retained.copy(bytes_of(text));
        expected += text;
        if (i % 3 == 0)
            retained.refer({.memory = bytes_of("")});
    }
    EXPECT_EQ(text_of(retained.pieces(0, expected.size())), expected);
    EXPECT_LT(retained.pieces(0, expected.size()).size(), 10U);
}

}  // namespace
}  // namespace gc::peer
