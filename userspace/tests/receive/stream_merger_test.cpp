// SPDX-License-Identifier: GPL-2.0-or-later
// Merges main and bulk into one stream, over socket pairs.
#include "receive/stream_merger.h"

#include "peer/zero_runs.h"
#include "util/mailbox.h"
#include "util/page.h"
#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <array>
#include <gmock/gmock.h>
#include <optional>
#include <string>
#include <sys/socket.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;
using peer::FrameKind;
using testing::HasSubstr;

class Merging : public testing::Test {
  protected:
    void SetUp() override {
        main = pair(main_in);
        bulk = pair(bulk_in);
        qemu = pair(out);
        main_channel = peer::Channel::raw(std::move(main_in)).value();
        bulk_channel = peer::Channel::raw(std::move(bulk_in)).value();
        merger.emplace(*main_channel, *bulk_channel, out,
                       MergerTaps{.begun = [this] { begun = true; },
                                  .broke = [this](const Error& error) { broke.post(error); },
                                  .switched_over = [this] { seen += "<switched over>"; },
                                  .sections =
                                      [this](auto bytes) {
                                          seen += std::string(
                                              reinterpret_cast<const char*>(bytes.data()),
                                              bytes.size());
                                      }},
                       placer());
    }
    virtual ZeroPlacer* placer() { return nullptr; }

    void begin() {
        send(main, FrameKind::stream, "headrest,");
        merger->start(4);
        EXPECT_EQ(read(9), "headrest,");
        EXPECT_TRUE(begun);
    }

    static UniqueFd pair(peer::Connection& other) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        other = peer::Connection(UniqueFd(ends[1]));
        return UniqueFd(ends[0]);
    }

    static void send(const UniqueFd& to, FrameKind kind, std::string_view text) {
        // At once: the reader of a head that it refuses is gone before the rest.
        std::string frame(text);
        const auto head = peer::encode({kind, text.size()});
        frame.insert(0, reinterpret_cast<const char*>(head.data()), head.size());
        ASSERT_TRUE(write_all(to.get(), std::as_bytes(std::span(frame))));
    }

    /// The next bytes that QEMU gets; fewer at the end of the stream or on timeout.
    std::string read(std::size_t size, std::chrono::milliseconds timeout = 5s) const {
        const timeval wait{.tv_sec = timeout.count() / 1000,
                           .tv_usec = timeout.count() % 1000 * 1000};
        ::setsockopt(qemu.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        std::string text(size, ' ');
        const ssize_t got = ::recv(qemu.get(), text.data(), size, MSG_WAITALL);
        text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        return text;
    }

    /// Why the stream broke.
    std::string error() {
        return wait_readable(broke.fd(), 5s).value() ? broke.take()->message : "no error";
    }

    UniqueFd main, bulk, qemu;  ///< the test's ends
    peer::Connection main_in, bulk_in, out;
    std::unique_ptr<peer::Channel> main_channel, bulk_channel;
    std::atomic<bool> begun = false;
    Mailbox<Error> broke{Waker::create().value()};
    std::string seen;  ///< what the taps were shown
    std::optional<StreamMerger> merger;
};

TEST_F(Merging, TheFirstFrameMayBeAllUpToSwitchOver) {
    send(main, FrameKind::sections, "headpackage,");
    send(bulk, FrameKind::sections, "[bulk]");
    merger->start(4);
    EXPECT_EQ(read(18), "headpackage,[bulk]");
}

TEST_F(Merging, TheStreamMayBeginInPieces) {
    for (const char* piece : {"he", "adrest,"})
        send(main, FrameKind::stream, piece);
    merger->start(4);
    EXPECT_EQ(read(9), "headrest,");
}

TEST_F(Merging, BulkComesOnlyWhereASectionMayBegin) {
    send(bulk, FrameKind::sections, "[bulk]");
    begin();
    send(main, FrameKind::stream, "package");
    EXPECT_EQ(read(7), "package");
    EXPECT_EQ(read(1, 50ms), "") << "not a boundary";
    send(main, FrameKind::sections, "'s end,");
    EXPECT_EQ(read(13), "'s end,[bulk]");
}

std::string compressed(FrameKind kind, std::string_view text) {
    peer::Compressor compressor;
    // Short text grows.
    const auto result = compressor.compress(peer::Compression::zstd, std::as_bytes(std::span(text)),
                                            text.size() + 100);
    const auto head =
        peer::encode(peer::CompressedHead{kind, peer::Compression::zstd, text.size()});
    const auto as_text = [](std::span<const std::byte> bytes) {
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    return as_text(head) + as_text(*result);
}

TEST_F(Merging, CompressedFramesAreWhatTheyHold) {
    begin();
    send(main, FrameKind::compressed, compressed(FrameKind::stream, "precopy,"));
    send(main, FrameKind::compressed, compressed(FrameKind::sections, "package,"));
    EXPECT_EQ(read(16), "precopy,package,");
    send(bulk, FrameKind::compressed, compressed(FrameKind::sections, "[bulk]"));
    EXPECT_EQ(read(6), "[bulk]");
    std::array<std::byte, 1> answer{};
    EXPECT_TRUE(read_whole(bulk.get(), answer).value());
    send(main, FrameKind::compressed, compressed(FrameKind::sections, "guide,"));
    EXPECT_EQ(read(6), "guide,");
    send(main, FrameKind::last, "end");
    ::shutdown(bulk.get(), SHUT_WR);
    EXPECT_EQ(read(3), "end");
    merger.reset();
    EXPECT_EQ(seen, "<switched over>[bulk]guide,");
}

TEST_F(Merging, TheHeadOfTheStreamIsNotCompressed) {
    send(main, FrameKind::compressed, compressed(FrameKind::stream, "headrest,"));
    merger->start(4);
    EXPECT_THAT(error(), HasSubstr("the head of QEMU's stream as it is"));
}

TEST_F(Merging, BulkHasOnlySectionsEvenIfTheyAreCompressed) {
    begin();
    send(bulk, FrameKind::compressed, compressed(FrameKind::stream, "[bulk]"));
    EXPECT_THAT(error(), HasSubstr("a compressed frame of kind 1"));
}

TEST_F(Merging, WhatCannotBeDecompressedEndsTheStream) {
    begin();
    std::string frame = compressed(FrameKind::sections, "[bulk]");
    frame.resize(frame.size() - 1);
    send(bulk, FrameKind::compressed, frame);
    EXPECT_THAT(error(), HasSubstr("malformed Zstandard data"));
    EXPECT_EQ(read(1), "");
}

TEST_F(Merging, ALargeCompressedFrameIsRefusedBeforeItIsRead) {
    begin();
    ASSERT_TRUE(
        write_all(main.get(), peer::encode({FrameKind::compressed, peer::max_bulk_frame + 1})));
    EXPECT_THAT(error(), HasSubstr("at most 4194304 bytes"));
}

TEST_F(Merging, LittleMayWaitForQemuFromSwitchOverOn) {
    const auto buffer = [this] {
        int size = 0;
        socklen_t length = sizeof size;
        EXPECT_EQ(::getsockopt(out.fd(), SOL_SOCKET, SO_SNDBUF, &size, &length), 0);
        return size;
    };
    const int before = buffer();
    begin();
    send(main, FrameKind::stream, "precopy,");
    EXPECT_EQ(read(8), "precopy,");
    EXPECT_EQ(buffer(), before);
    send(main, FrameKind::sections, "package,");
    EXPECT_EQ(read(8), "package,");
    EXPECT_LT(buffer(), before);
}

TEST_F(Merging, FramesAreNeverMixed) {
    begin();
    ::shutdown(bulk.get(), SHUT_RD);  // this test does not read the acknowledgements
    send(main, FrameKind::sections, ".");
    std::thread sending_bulk([this] {
        for (int i = 0; i < 500; ++i)
            send(bulk, FrameKind::sections, "[bulk-bulk-bulk]");
        ::shutdown(bulk.get(), SHUT_WR);
    });
    std::thread sending_main([this] {
        for (int i = 0; i < 500; ++i)
            send(main, FrameKind::sections, "(main-main)");
        send(main, FrameKind::last, "$");
    });
    const std::string all = read(std::size_t{500} * (16 + 11) + 2);
    sending_bulk.join();
    sending_main.join();
    std::size_t bulks = 0, mains = 0, at = 1;
    while (at + 1 < all.size()) {
        const bool is_main = all.compare(at, 11, "(main-main)") == 0;
        ASSERT_TRUE(is_main || all.compare(at, 16, "[bulk-bulk-bulk]") == 0) << at;
        ++(is_main ? mains : bulks);
        at += is_main ? 11 : 16;
    }
    EXPECT_EQ(mains, 500U);
    EXPECT_EQ(bulks, 500U);
    EXPECT_EQ(all.back(), '$') << "the end comes after all of bulk";
    merger.reset();
    EXPECT_EQ(seen, "<switched over>" + all.substr(1, all.size() - 2))
        << "the taps are shown only sections";
}

TEST_F(Merging, EachFrameOfBulkIsAnsweredWhenItIsInTheStream) {
    begin();
    send(bulk, FrameKind::sections, "[one]");
    EXPECT_FALSE(wait_readable(bulk.get(), 50ms).value()) << "main is not at a boundary yet";
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(6), ".[one]");
    send(bulk, FrameKind::sections, "[two]");
    EXPECT_EQ(read(5), "[two]");
    std::array<std::byte, 2> answers{};
    EXPECT_TRUE(read_whole(bulk.get(), answers).value());
    EXPECT_FALSE(wait_readable(bulk.get(), 50ms).value());
}

TEST_F(Merging, TheEndWaitsForBulk) {
    begin();
    send(main, FrameKind::sections, ".");
    send(main, FrameKind::last, "$");
    EXPECT_EQ(read(2, 50ms), ".");
    send(bulk, FrameKind::sections, "[bulk]");
    ::shutdown(bulk.get(), SHUT_WR);
    EXPECT_EQ(read(100), "[bulk]$") << "and then end of file";
}

TEST_F(Merging, AStreamWithoutPostCopyEndsWithMain) {
    begin();
    send(main, FrameKind::stream, "all of it");
    main.reset();
    EXPECT_EQ(read(100), "all of it");
}

TEST_F(Merging, ABulkChannelThatBreaksWithinAFrameEndsTheStream) {
    begin();
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    const auto head = peer::encode({FrameKind::sections, 100});
    ASSERT_TRUE(write_all(bulk.get(), head));
    bulk.reset();
    EXPECT_EQ(read(100), "");
}

TEST_F(Merging, AMainChannelThatBreaksWithinAFrameEndsTheStream) {
    begin();
    const auto head = peer::encode({FrameKind::sections, 100});
    ASSERT_TRUE(write_all(main.get(), head));
    main.reset();
    EXPECT_EQ(read(100), "");
}

TEST_F(Merging, BulkMustBringSections) {
    begin();
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    const auto head = peer::encode({FrameKind::stream, 7});
    ASSERT_TRUE(write_all(bulk.get(), head));
    EXPECT_EQ(read(100), "");
}

TEST_F(Merging, PagesThatComeApartGoWhereTheyBelong) {
    begin();
    send(main, FrameKind::sections, ".");
    const auto cuts = peer::encode_cuts(std::array<std::size_t, 2>{3, 4});
    const std::string pages = std::string(page_size, 'A') + std::string(page_size, 'B');
    const auto text = [](std::span<const std::byte> bytes) {
        return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    send(bulk, FrameKind::split, text(cuts) + "(1:2.)" + pages);
    EXPECT_EQ(read(1 + 6 + pages.size()),
              ".(1:" + pages.substr(0, page_size) + "2" + pages.substr(page_size) + ".)");
}

TEST_F(Merging, AMalformedSplitFrameEndsTheStream) {
    begin();
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    send(bulk, FrameKind::split, std::string("\0\1\0\0no page", 11));
    EXPECT_EQ(read(100), "");
}

TEST_F(Merging, ABulkFrameOfAbsurdSizeIsRefused) {
    begin();
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    const auto head = peer::encode({FrameKind::sections, peer::max_bulk_frame + 1});
    ASSERT_TRUE(write_all(bulk.get(), head));
    EXPECT_EQ(read(100), "");
}

TEST_F(Merging, ZerosAreNoneOfAnOlderPeersFrames) {
    begin();
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    send(bulk, FrameKind::zeros, "x");
    EXPECT_EQ(read(100), "");
    ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
    EXPECT_THAT(broke.take()->message, HasSubstr("kind 5"));
}

TEST_F(Merging, MainBringsOnlyTheStream) {
    for (const FrameKind kind : {FrameKind::split, FrameKind::zeros}) {
        TearDown();
        merger.reset();
        SetUp();
        begin();
        send(main, kind, "x");
        EXPECT_EQ(read(100), "");
        ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
        EXPECT_THAT(broke.take()->message, HasSubstr("expected QEMU's stream"));
    }
}

/// With pages that the source tells to be zeros.
class MergingZeros : public Merging {
  protected:
    void SetUp() override {
        Merging::SetUp();
        begin();
    }
    void TearDown() override { merger.reset(); }
    ZeroPlacer* placer() override { return &zeros; }

    void tell(std::uint64_t first, std::uint64_t count) const {
        const auto frame = peer::encode(peer::ZeroRuns{3, "m", {{first, count}}});
        send(bulk, FrameKind::zeros, {reinterpret_cast<const char*>(frame.data()), frame.size()});
    }
    static std::string text(std::span<const std::byte> bytes) {
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    /// The section with these pages that QEMU gets.
    static std::string section(std::uint64_t first, std::uint64_t count) {
        stream::Buffer bytes;
        stream::append_section_part(bytes, 3);
        for (std::uint64_t i = 0; i < count; ++i)
            stream::append_page_head(bytes, (first + i) * page_size, i == 0 ? "m" : "", true);
        stream::append_end_of_ram(bytes);
        stream::append_section_footer(bytes, 3);
        return text(bytes);
    }

    ZeroPlacer zeros{{{.name = "m", .pages = 1000}},
                     [](std::uint32_t, std::string_view, std::uint64_t) {}};
};

TEST_F(MergingZeros, GoWhereASectionMayBegin) {
    zeros.begin();
    tell(5, 3);
    EXPECT_EQ(read(1, 50ms), "") << "no boundary";
    send(main, FrameKind::sections, ".");
    const std::string all = "." + section(5, 3);
    EXPECT_EQ(read(all.size()), all);
    EXPECT_FALSE(wait_readable(bulk.get(), 30ms).value()) << "such a frame is not answered";
}

TEST_F(MergingZeros, WaitUntilTheVmRuns) {
    tell(5, 3);
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(2, 50ms), ".");
    zeros.begin();
    EXPECT_EQ(read(section(5, 3).size()), section(5, 3));
}

TEST_F(MergingZeros, WaitWhileQemuHasNotReadTheRest) {
    send(main, FrameKind::sections, ".");
    send(bulk, FrameKind::sections, "[one]");
    std::array<std::byte, 1> answer{};
    ASSERT_TRUE(read_whole(bulk.get(), answer).value()) << "it is in the socket";
    zeros.begin();
    tell(5, 3);
    std::this_thread::sleep_for(20ms);
    send(bulk, FrameKind::sections, "[two]");
    ASSERT_TRUE(read_whole(bulk.get(), answer).value());
    EXPECT_EQ(read(11), ".[one][two]") << "bulk does not wait";
    EXPECT_EQ(read(section(5, 3).size()), section(5, 3));
}

TEST_F(MergingZeros, AreHurriedAfterARequest) {
    send(main, FrameKind::sections, ".");
    tell(5, 100);
    std::array<std::byte, 1> answer{};
    send(bulk, FrameKind::sections, "[one]");
    ASSERT_TRUE(read_whole(bulk.get(), answer).value()) << "what was sent before was taken, too";
    stream::Buffer request;
    stream::append_page_request(request, "m", 20 * page_size, page_size);
    zeros.saw_requests(request);
    zeros.begin();
    const std::string all = ".[one]" + section(21, 64);
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(read(all.size()), all) << "though QEMU has not read what was there";
}

TEST_F(MergingZeros, TheEndWaitsForAllOfThem) {
    tell(5, 200);
    send(main, FrameKind::sections, ".");
    send(main, FrameKind::last, "$");
    ::shutdown(bulk.get(), SHUT_WR);
    EXPECT_EQ(read(2, 50ms), ".");
    zeros.begin();
    const std::string all = section(5, 64) + section(69, 64) + section(133, 64) + section(197, 8);
    EXPECT_EQ(read(all.size()), all);
    EXPECT_EQ(read(100), "$") << "and then end of file";
}

TEST_F(MergingZeros, WhatIsGivenGoesBeforeBulk) {
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    ASSERT_TRUE(merger->give(std::as_bytes(std::span("(given)", 7))));
    EXPECT_EQ(read(7), "(given)");
    merger->stop();
    EXPECT_FALSE(merger->give(std::as_bytes(std::span("(given)", 7))));
}

TEST_F(MergingZeros, BadRunsEndTheStream) {
    send(main, FrameKind::sections, ".");
    EXPECT_EQ(read(1), ".");
    tell(990, 11);
    EXPECT_EQ(read(100), "");
    ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
    EXPECT_THAT(broke.take()->message, HasSubstr("which has 1000 pages"));
    EXPECT_FALSE(broke.take()) << "one message";
}

TEST_F(MergingZeros, ItEndsWhateverItWaitsFor) {
    tell(5, 200);
    send(main, FrameKind::sections, ".");
    send(main, FrameKind::last, "$");
    ::shutdown(bulk.get(), SHUT_WR);
    std::this_thread::sleep_for(10ms);
    merger.reset();
    EXPECT_EQ(read(100), ".");
}

TEST_F(Merging, AStreamThatDoesNotBeginIsToldOfAtOnce) {
    send(main, FrameKind::stream, "hea");
    main.reset();
    merger->start(4);
    ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
    EXPECT_THAT(broke.take()->message, HasSubstr("main channel"));
    EXPECT_FALSE(begun);
    EXPECT_EQ(read(100), "hea");
}

TEST_F(Merging, EmptyFramesAreNoStream) {
    send(main, FrameKind::stream, "");
    merger->start(4);
    ASSERT_TRUE(wait_readable(broke.fd(), 5s).value());
    EXPECT_THAT(broke.take()->message, HasSubstr("empty frame"));
}

TEST_F(Merging, ASilentSourceHoldsUpNobody) {
    merger->start(4);
    merger.reset();
    EXPECT_FALSE(broke.take());
}

TEST_F(Merging, ItEndsWhateverItWaitsFor) {
    begin();
    send(bulk, FrameKind::sections, "[bulk]");
    std::this_thread::sleep_for(10ms);
    merger.reset();
    EXPECT_EQ(read(100), "");
}

}  // namespace
}  // namespace gc::receive
