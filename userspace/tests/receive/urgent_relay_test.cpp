// SPDX-License-Identifier: GPL-2.0-or-later
// What gcctl gives QEMU by itself goes between the pages of the channel urgent, over socket pairs.
#include "receive/urgent_relay.h"

#include "stream/reader.h"
#include "stream/writer.h"
#include "util/mailbox.h"
#include "util/socket.h"

#include <array>
#include <gmock/gmock.h>
#include <optional>
#include <sys/socket.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Urgent : public testing::Test {
  protected:
    void SetUp() override {
        peer::Connection in;
        source = pair(in);
        qemu = pair(out);
        channel = peer::Channel::raw(std::move(in)).value();
        relay.emplace(*channel, out,
                      UrgentTaps{.given = [this](auto bytes) { seen += bytes.size(); },
                                 .await_end =
                                     [this] {
                                         while (!may_end)
                                             std::this_thread::sleep_for(1ms);
                                         return !broken_off;
                                     },
                                 .broke = [this](const Error& error) { broke.post(error); }},
                      form());
    }
    virtual UrgentForm form() { return {}; }
    void TearDown() override { may_end = true; }

    static UniqueFd pair(peer::Connection& other) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        other = peer::Connection(UniqueFd(ends[1]));
        return UniqueFd(ends[0]);
    }
    static stream::Buffer page(std::uint64_t number, std::string_view block = "m") {
        stream::Buffer bytes;
        stream::append_page_head(bytes, number * stream::target_page, block, false);
        bytes.resize(bytes.size() + stream::target_page, std::byte{0x5a});
        return bytes;
    }
    static stream::Buffer zero(std::uint64_t number) {
        stream::Buffer bytes;
        stream::append_page_head(bytes, number * stream::target_page, "z", true);
        return bytes;
    }
    static stream::Buffer end() {
        stream::Buffer bytes;
        stream::append_end_of_ram(bytes);
        return bytes;
    }
    void send(std::span<const std::byte> bytes) { ASSERT_TRUE(write_all(source.get(), bytes)); }
    [[nodiscard]] bool silent() const { return !wait_readable(qemu.get(), 30ms).value(); }

    /// The next item that QEMU gets: a page's number, or one of these.
    enum Got : std::uint64_t { ended = 1000, closed, broken };
    std::uint64_t next() {
        for (;;) {
            std::span<const std::byte> input = got;
            const auto item = reader.next(input);
            if (!item)
                return broken;
            const std::size_t used = got.size() - input.size();
            if (*item) {
                std::uint64_t number = ended;
                if (const auto* data = std::get_if<stream::RamPage>(&**item))
                    number = data->offset / stream::target_page;
                else if (const auto* zeros = std::get_if<stream::RamZero>(&**item))
                    number = zeros->offset / stream::target_page;
                got.erase(got.begin(), got.begin() + static_cast<std::ptrdiff_t>(used));
                return number;
            }
            std::array<std::byte, 8192> more;
            const auto size = read_some(qemu.get(), more);
            if (size.value_or(0) == 0)
                return closed;
            got.insert(got.end(), more.begin(), more.begin() + static_cast<std::ptrdiff_t>(*size));
        }
    }

    UniqueFd source, qemu;  ///< the test's ends
    peer::Connection out;
    std::unique_ptr<peer::Channel> channel;
    std::atomic<std::size_t> seen = 0;
    std::atomic<bool> may_end = true;
    std::atomic<bool> broken_off = false;
    Mailbox<Error> broke{Waker::create().value()};
    stream::Buffer got;
    stream::Reader reader{stream::Start::records};
    std::optional<UrgentRelay> relay;
};

TEST_F(Urgent, PagesAndWhatIsGivenGoOn) {
    send(page(1));
    EXPECT_EQ(next(), 1U);
    ASSERT_TRUE(relay->give(zero(7)));
    EXPECT_EQ(next(), 7U);
    send(page(2));
    EXPECT_EQ(next(), 2U);
    send(end());
    EXPECT_EQ(next(), ended);
    source.reset();
    EXPECT_EQ(next(), closed);
    EXPECT_EQ(seen, 2 * page(1).size() + zero(7).size() + end().size());
}

TEST_F(Urgent, NothingIsGivenWithinAPage) {
    const stream::Buffer one = page(1);
    send(std::span(one).first(3000));
    EXPECT_TRUE(silent()) << "QEMU could take nothing else until the rest comes";
    ASSERT_TRUE(relay->give(zero(7)));
    EXPECT_EQ(next(), 7U);
    send(std::span(one).subspan(3000));
    EXPECT_EQ(next(), 1U);
}

TEST_F(Urgent, TheEndWaitsForWhatIsGiven) {
    may_end = false;
    stream::Buffer bytes = page(1);
    const stream::Buffer after = end();
    bytes.insert(bytes.end(), after.begin(), after.end());
    send(bytes);
    EXPECT_EQ(next(), 1U) << "only the end waits";
    EXPECT_TRUE(silent());
    ASSERT_TRUE(relay->give(zero(7)));
    EXPECT_EQ(next(), 7U);
    may_end = true;
    EXPECT_EQ(next(), ended);
}

TEST_F(Urgent, AStreamThatBrokeDoesNotEnd) {
    broken_off = true;
    send(end());
    EXPECT_EQ(next(), closed);
}

TEST_F(Urgent, APageWithoutItsBlockIsRefused) {
    send(page(1));
    EXPECT_EQ(next(), 1U);
    send(page(2, ""));
    EXPECT_EQ(next(), closed) << "QEMU would take it for one of the block before";
    ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
    EXPECT_THAT(broke.take()->message, HasSubstr("name its RAM block"));
}

TEST_F(Urgent, WhatIsNoRecordIsRefused) {
    send(stream::Buffer(64, std::byte{0xff}));
    EXPECT_EQ(next(), closed);
    ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
}

TEST_F(Urgent, ManyGiveAtOnce) {
    std::thread giving([this] {
        for (std::uint64_t i = 0; i < 500; ++i)
            ASSERT_TRUE(relay->give(zero(100 + i)));
    });
    std::thread sending([this] {
        for (std::uint64_t i = 0; i < 50; ++i) {
            const stream::Buffer bytes = page(i);
            send(std::span(bytes).first(i * 70));
            send(std::span(bytes).subspan(i * 70));
        }
    });
    std::uint64_t next_given = 100, next_sent = 0;
    for (int i = 0; i < 550; ++i) {
        const std::uint64_t number = next();
        ASSERT_EQ(number, number < 100 ? next_sent : next_given);
        ++(number < 100 ? next_sent : next_given);
    }
    giving.join();
    sending.join();
}

class FramedUrgent : public Urgent {
  protected:
    UrgentForm form() override { return {.framed = true, .named = false}; }
    void send_frame(peer::FrameKind kind, std::span<const std::byte> bytes) {
        const auto head = peer::encode({kind, bytes.size()});
        stream::Buffer frame(head.begin(), head.end());
        frame.insert(frame.end(), bytes.begin(), bytes.end());
        send(frame);  // In one piece: who refuses the head closes at once.
    }
    void send_compressed(std::span<const std::byte> bytes,
                         peer::FrameKind kind = peer::FrameKind::stream) {
        peer::Compressor compressor;
        const auto result = compressor.compress(peer::Compression::lz4, bytes, bytes.size());
        ASSERT_TRUE(result);
        const auto head =
            peer::encode(peer::CompressedHead{kind, peer::Compression::lz4, bytes.size()});
        stream::Buffer body(head.begin(), head.end());
        body.insert(body.end(), result->begin(), result->end());
        send_frame(peer::FrameKind::compressed, body);
    }
    void expect_broken(std::string_view why) {
        EXPECT_EQ(next(), closed);
        ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
        EXPECT_THAT(broke.take()->message, HasSubstr(why));
    }
};

TEST_F(FramedUrgent, FramesMayBeCompressed) {
    send_frame(peer::FrameKind::stream, page(1));
    EXPECT_EQ(next(), 1U);
    send_compressed(page(2));
    EXPECT_EQ(next(), 2U);
    send_frame(peer::FrameKind::stream, page(3, ""));
    EXPECT_EQ(next(), 3U) << "of the same granule; nothing is given between";
    send_frame(peer::FrameKind::stream, end());
    EXPECT_EQ(next(), ended);
    source.reset();
    EXPECT_EQ(next(), closed);
}

TEST_F(FramedUrgent, WhatDoesNotBelongThereIsRefused) {
    send_frame(peer::FrameKind::sections, page(1));
    expect_broken("frame of kind 2");
}

TEST_F(FramedUrgent, NotEvenCompressed) {
    send_compressed(page(1), peer::FrameKind::sections);
    expect_broken("frame of kind 2");
}

TEST_F(FramedUrgent, WhatCannotBeDecompressedIsRefused) {
    send_frame(peer::FrameKind::compressed, stream::Buffer(40, std::byte{1}));
    expect_broken("compressed frame");
}

TEST_F(FramedUrgent, ALargeFrameIsRefusedBeforeItIsRead) {
    send(peer::encode({peer::FrameKind::stream, peer::max_bulk_frame + 1}));
    expect_broken("at most 4194304 bytes");
}

TEST_F(Urgent, ItEndsWhateverItWaitsFor) {
    send(std::span<const std::byte>(page(1)).first(10));
    relay.reset();
    EXPECT_EQ(next(), closed);
}

}  // namespace
}  // namespace gc::receive
