// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/link.h"

#include "util/page.h"
#include "util/private_socket.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::vector<std::byte> bytes(std::string_view text) {
    const auto view = std::as_bytes(std::span(text));
    return {view.begin(), view.end()};
}

struct Pair {
    Pair() : Pair(SocketPair::make().value()) {}
    explicit Pair(SocketPair sockets)
        : near(peer::Connection(std::move(sockets.ours))), far(std::move(sockets.theirs)) {}
    Link near;
    UniqueFd far;
};

TEST(RecoveryLink, CarriesLinesAndFrames) {
    auto sockets = SocketPair::make().value();
    Link near{peer::Connection(std::move(sockets.ours))};
    Link far{peer::Connection(std::move(sockets.theirs))};
    ASSERT_TRUE(near.send_line(hello("0123456789abcdef")));
    ASSERT_TRUE(near.send(FrameKind::refused, "because"));
    ASSERT_TRUE(near.send(FrameKind::alive));
    EXPECT_EQ(decode_hello(far.receive_line(1s).value()).value(), "0123456789abcdef");
    const auto frame = far.receive(1s).value();
    EXPECT_EQ(frame->kind, FrameKind::refused);
    EXPECT_EQ(frame->body, bytes("because"));
    EXPECT_EQ(far.receive(1s).value()->kind, FrameKind::alive);
    EXPECT_FALSE(far.receive(1ms).value());
}

TEST(RecoveryLink, FindsAFlippedBitAnywhere) {
    auto sockets = SocketPair::make().value();
    Link near{peer::Connection(std::move(sockets.ours))};
    ASSERT_TRUE(near.send(FrameKind::refused, "because"));
    std::array<std::byte, 64> whole{};
    const std::size_t size = read_some(sockets.theirs.get(), whole).value();
    for (std::size_t bit = 0; bit < size * 8; ++bit) {
        auto damaged = whole;
        damaged[bit / 8] ^= std::byte{1} << bit % 8;
        Pair pair;
        ASSERT_TRUE(write_all(pair.far.get(), std::span(damaged).first(size)));
        ::shutdown(pair.far.get(), SHUT_WR);
        EXPECT_FALSE(pair.near.receive(1s)) << "bit " << bit;
    }
}

TEST(RecoveryLink, TellsAnEnd) {
    Pair pair;
    pair.far.reset();
    const auto frame = pair.near.receive(1s);
    ASSERT_FALSE(frame);
    EXPECT_THAT(frame.error().message, HasSubstr("closed the connection"));
}

TEST(RecoveryLink, ADescriptionComesBack) {
    const Description sent{"0123456789abcdef", "uuid", true, {{"pc.ram", 512, 512}, {"rom", 3, 1}}};
    const Description got = decode_description(bytes(encode(sent))).value();
    EXPECT_EQ(got.id, sent.id);
    EXPECT_EQ(got.uuid, sent.uuid);
    EXPECT_TRUE(got.completed);
    ASSERT_EQ(got.blocks.size(), 2U);
    EXPECT_EQ(got.blocks[0].name, "pc.ram");
    EXPECT_EQ(got.blocks[0].granule, 512U);
}

TEST(RecoveryLink, RejectsInvalidDescriptions) {
    for (const Block& block : {Block{"b", 1, 0}, Block{"b", 3, 2}, Block{"b", 1ULL << 50, 1},
                               Block{std::string(300, 'x'), 1, 1}})
        EXPECT_FALSE(decode_description(bytes(encode(Description{"", "", false, {block}}))));
    for (const std::string_view text : {"", "[]", "{}", "{\"id\":1}", "\xff"})
        EXPECT_FALSE(decode_description(bytes(text)));
}

TEST(RecoveryLink, PagesComeBack) {
    const std::vector<std::byte> page(page_size, std::byte{7});
    std::vector<std::byte> body;
    append_pages_head(body, {2, 1});
    append_page(body, {5, page});
    append_page(body, {6, {}});
    PagesHead head;
    const auto pages = decode_pages(body, head).value();
    EXPECT_EQ(head.section, 2U);
    EXPECT_EQ(head.block, 1U);
    ASSERT_EQ(pages.size(), 2U);
    EXPECT_EQ(pages[0].number, 5U);
    EXPECT_EQ(pages[0].bytes.size(), page_size);
    EXPECT_EQ(pages[1].number, 6U);
    EXPECT_TRUE(pages[1].bytes.empty());
    body.pop_back();
    EXPECT_FALSE(decode_pages(body, head));
    EXPECT_FALSE(decode_pages({}, head));
}

TEST(RecoveryLink, RequestsComeBack) {
    const auto body = encode(Request{3, 1ULL << 33, 512});
    const Request request = decode_request(body).value();
    EXPECT_EQ(request.block, 3U);
    EXPECT_EQ(request.first, 1ULL << 33);
    EXPECT_EQ(request.count, 512U);
    EXPECT_FALSE(decode_request(std::span(body).first(5)));
}

TEST(RecoveryLink, KnowsTheOtherCommands) {
    EXPECT_THAT(decode_hello(R"({"guidecopy":3,"channel":"control"})").error().message,
                HasSubstr("found 'gcctl migrate'"));
    EXPECT_FALSE(decode_hello("GET / HTTP/1.1"));
    EXPECT_FALSE(decode_hello(R"({"guidecopy-recovery":2})"));
}

TEST(PageSet, FindsWhatIsMissing) {
    PageSet set(130);
    EXPECT_EQ(set.missing(), 130U);
    for (std::uint64_t page = 0; page < 130; ++page) {
        if (page != 3 && page != 64 && page != 129) {
            EXPECT_TRUE(set.add(page));
        }
    }
    EXPECT_FALSE(set.add(0));
    EXPECT_EQ(set.missing(), 3U);
    EXPECT_EQ(set.next_missing(0), 3U);
    EXPECT_EQ(set.next_missing(4), 64U);
    EXPECT_EQ(set.next_missing(65), 129U);
    EXPECT_EQ(set.next_missing(130), 130U);
    const PageSet copy(130, set.bits());
    EXPECT_EQ(copy.missing(), 3U);
    EXPECT_EQ(copy.next_missing(4), 64U);
    EXPECT_EQ(PageSet(130, std::span<const std::byte>()).missing(), 130U);
}

}  // namespace
}  // namespace gc::recover
