// SPDX-License-Identifier: GPL-2.0-or-later
// The order in which pages are sent, each exactly once: PageSender and the pushers over socket
// pairs and a memfd.
#include "transfer/bulk_pusher.h"
#include "transfer/page_sender.h"

#include "../stream/append.h"
#include "stream/reader.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <numeric>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace gc::transfer {
namespace {

using namespace std::chrono_literals;
using peer::FrameKind;

constexpr std::uint64_t ram_pages = 64;
constexpr std::uint32_t ram_section = 2;
constexpr std::uint64_t next_pages = 4;

/// What the guide "touched", given by the test.
class FakeCapture final : public capture::RecordSource {
  public:
    explicit FakeCapture(std::vector<std::uint64_t> pages) : pages_(std::move(pages)) {}
    Result<std::size_t> read(std::span<capture::Record> into) override {
        std::size_t count = 0;
        while (count < into.size() && next_ < pages_.size())
            into[count++] = {pages_[next_++], 0, 1, capture::Kind::read};
        read_all_ = count == 0;
        return count;
    }
    /// Waits until the reader has found the source empty: it has then sent everything it had read.
    [[nodiscard]] bool read_all() const { return read_all_; }
    [[nodiscard]] int fd() const override { return -1; }
    Result<capture::Stats> stats() override { return capture::Stats{}; }

  private:
    std::vector<std::uint64_t> pages_;
    std::size_t next_ = 0;
    std::atomic<bool> read_all_ = false;
};

struct Arrived {
    std::vector<std::uint64_t> pages;
    std::size_t zeros = 0;
    bool ended = false;
};

/// The part of QEMU's stream that a channel carried.
Arrived parse(std::span<const std::byte> input, stream::Start start) {
    stream::Reader reader(start);
    Arrived arrived;
    for (;;) {
        const auto item = reader.next(input);
        EXPECT_TRUE(item) << item.error().message;
        if (!item || !*item)
            break;
        if (const auto* page = std::get_if<stream::RamPage>(&**item)) {
            arrived.pages.push_back(page->offset / page_size);
            EXPECT_EQ(std::to_integer<unsigned>(page->data[0]), page->offset / page_size + 1);
        } else if (const auto* zero = std::get_if<stream::RamZero>(&**item)) {
            arrived.pages.push_back(zero->offset / page_size);
            ++arrived.zeros;
        } else if (std::holds_alternative<stream::EndOfFile>(**item) ||
                   (start == stream::Start::records &&
                    std::holds_alternative<stream::EndOfRam>(**item))) {
            arrived.ended = true;
        }
    }
    EXPECT_TRUE(input.empty());
    return arrived;
}

/// Reads a channel to its end.
stream::Buffer read_raw(int fd) {
    stream::Buffer all;
    std::array<std::byte, 65536> chunk;
    for (;;) {
        const auto got = read_some(fd, chunk);
        if (!got || *got == 0)
            return all;
        stream::append(all, std::span(chunk).first(*got));
    }
}

/// The same for a channel with frames.
/// @param last whether it must end with a `last` frame
/// @param kinds set to the number of frames of each kind
stream::Buffer read_frames(int fd, bool last, std::map<peer::FrameKind, std::size_t>& kinds) {
    stream::Buffer all;
    peer::FrameHead head;
    peer::FrameUnpacker unpacker;
    for (;;) {
        std::array<std::byte, peer::frame_head_size> bytes;
        const auto more = read_whole(fd, bytes);
        if (!more || !*more)
            break;
        head = peer::decode(bytes).value();
        stream::Buffer frame(head.size);
        EXPECT_TRUE(read_whole(fd, frame).value_or(false));
        ++kinds[head.kind];
        if (head.kind == peer::FrameKind::compressed) {
            EXPECT_TRUE(unpacker.unpack(frame));
            stream::append(all, unpacker.content());
        } else {
            const auto parts = peer::parts_of(head.kind, frame);
            for (const auto part : parts.value())
                stream::append(all, part);
        }
        (void)write_all(fd, peer::frame_taken);
    }
    EXPECT_EQ(head.kind == peer::FrameKind::last, last);
    return all;
}

class Sender : public testing::Test {
  protected:
    void SetUp() override {
        UniqueFd file(::memfd_create("ram", MFD_CLOEXEC));
        ASSERT_EQ(::ftruncate(file.get(), ram_pages * page_size), 0);
        // The last page is a hole; the page before it is zero.
        for (std::uint64_t page = 0; page < ram_pages - 2; ++page) {
            const auto mark = static_cast<unsigned char>(page + 1);
            ASSERT_EQ(::pwrite(file.get(), &mark, 1, static_cast<off_t>(page * page_size)), 1);
        }
        const unsigned char zero = 0;
        ASSERT_EQ(::pwrite(file.get(), &zero, 1, (ram_pages - 2) * page_size), 1);
        std::vector<image::ImageBlock> blocks;
        blocks.push_back(
            {"pc.ram", "pc.ram", ram_pages * page_size, std::move(file), 0, std::nullopt});
        image.emplace(image::SourceImage::open(std::move(blocks)).value());
        set_granule(1);
    }

    void set_granule(std::uint64_t pages) {
        ledger.emplace(std::vector<ledger::Ledger::Block>{{"pc.ram", ram_pages, pages}});
    }

    void make_sender(bool with_urgent) {
        PageChannels channels{.main = pair(main_end), .bulk = pair(bulk_end)};
        if (with_urgent)
            channels.urgent = pair(urgent_end);
        sender.emplace(channels, Marks{}, 0, wake);
        if (compress)
            sender->compress(*compress, peer::compressions, true);
        sender->begin(*ledger, *image, {0}, ram_section);
        match.begin(ledger->blocks());
        // The start of the section on main, as in the source's own stream.
        stream::append_header(opening);
        stream::append_section_start(opening, stream::Tag::section_start, ram_section, "ram", 0, 4);
        const std::uint64_t length = ledger->total() * page_size;
        stream::append_block_list(opening, length);
        stream::append_block(opening, "pc.ram", length, {}, {});
        stream::append_end_of_ram(opening);
        stream::append_section_footer(opening, ram_section);
        Gather bytes;
        bytes.refer(opening);
        ASSERT_TRUE(sender->switch_over(bytes));
        readers.emplace_back([this] {
            while (!read_main)
                std::this_thread::sleep_for(1ms);
            main_bytes = read_frames(main_end.get(), !cut_short, kinds_on_main);
        });
        readers.emplace_back(
            [this] { bulk_bytes = read_frames(bulk_end.get(), false, kinds_on_bulk); });
        if (with_urgent)
            readers.emplace_back([this] {
                urgent_bytes = compress ? read_frames(urgent_end.get(), false, kinds_on_urgent)
                                        : read_raw(urgent_end.get());
            });
    }

    /// Runs the two pushers side by side, once the guide's touches are in the ring.
    void push_all(std::vector<std::uint64_t> touched, WarmPages warm = {}) {
        FakeCapture capture(std::move(touched));
        GuidePusher guide(*sender, {{"pc.ram", &capture}}, match, wake_guide, wake);
        BulkPusher bulk(*sender, *image, guide, next, 0ms, nullptr, wake);
        bulk.set_warm(std::move(warm));
        push_beside(guide, bulk, [&] {
            while (!capture.read_all() && !ledger->full())
                std::this_thread::sleep_for(1ms);
            bulk.on_resumed();
        });
    }

    template <typename Meanwhile>
    void push_beside(GuidePusher& guide, BulkPusher& bulk, Meanwhile meanwhile) {
        std::thread guiding([&] { EXPECT_TRUE(guide.run(*ledger)); });
        std::thread pushing([&] { EXPECT_TRUE(bulk.run(*ledger)); });
        meanwhile();
        pushing.join();
        guide.stop();
        guiding.join();
        finish_reading();
    }

    /// @param meanwhile called when a guide page is waiting to be sent
    template <typename Meanwhile>
    void push_while_guide_is_busy(std::vector<std::uint64_t> touched, Meanwhile meanwhile) {
        FakeCapture capture(std::move(touched));
        GuidePusher guide(*sender, {{"pc.ram", &capture}}, match, wake_guide, wake);
        BulkPusher bulk(*sender, *image, guide, next, 0ms, nullptr, wake);
        push_beside(guide, bulk, [&] {
            while (!guide.busy())
                std::this_thread::sleep_for(1ms);
            meanwhile(bulk);
        });
    }

    void finish_reading() {
        sender->shut_down();
        for (std::thread& reader : readers)
            reader.join();
        on_main = parse(main_bytes, stream::Start::header);
        // Sections can be parsed only after the start of the stream.
        stream::append(opening, bulk_bytes);
        on_bulk = parse(opening, stream::Start::header);
        on_urgent = parse(urgent_bytes, stream::Start::records);
    }

    /// Pages of all channels except urgent.
    [[nodiscard]] std::vector<std::uint64_t> all_arrived() const {
        auto pages = on_main.pages;
        pages.insert(pages.end(), on_bulk.pages.begin(), on_bulk.pages.end());
        std::ranges::sort(pages);
        return pages;
    }

    /// Checks that guide pages are sent, but no background until `event`, and then everything.
    void expect_background_waits_for(BulkPusher& bulk, GuidePusher& guide,
                                     void (BulkPusher::*event)()) {
        push_beside(guide, bulk, [&] {
            while (ledger->delivered(ledger::PageClass::guide) == 0)
                std::this_thread::sleep_for(1ms);
            std::this_thread::sleep_for(20ms);
            EXPECT_EQ(ledger->delivered(ledger::PageClass::background), 0U);
            (bulk.*event)();
        });
        EXPECT_TRUE(on_main.ended);
    }

    peer::Channel* pair(UniqueFd& other) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        other.reset(ends[1]);
        channels_.push_back(peer::Channel::raw(UniqueFd(ends[0])).value());
        return channels_.back().get();
    }

    Waker wake = Waker::create().value();
    Waker wake_guide = Waker::create().value();
    NextPages next{next_pages, wake};
    std::optional<image::SourceImage> image;
    std::optional<ledger::Ledger> ledger;
    std::vector<std::unique_ptr<peer::Channel>> channels_;
    std::optional<PageSender> sender;
    GuideMatch match;
    UniqueFd main_end, bulk_end, urgent_end;
    stream::Buffer opening;
    std::atomic<bool> read_main = true;
    bool cut_short = false;  ///< the stream is not ended
    std::vector<std::thread> readers;
    stream::Buffer main_bytes, bulk_bytes, urgent_bytes;
    std::optional<Compress> compress;  ///< as with a peer of version 9
    std::map<peer::FrameKind, std::size_t> kinds_on_main, kinds_on_bulk, kinds_on_urgent;
    Arrived on_main, on_bulk, on_urgent;
};

std::vector<std::uint64_t> all_pages() {
    std::vector<std::uint64_t> pages(ram_pages);
    for (std::uint64_t page = 0; page < ram_pages; ++page)
        pages[page] = page;
    return pages;
}

constexpr std::uint64_t granule = 32;

std::vector<std::uint64_t> from(std::uint64_t first, std::uint64_t count) {
    std::vector<std::uint64_t> pages(count);
    std::iota(pages.begin(), pages.end(), first);
    return pages;
}

TEST_F(Sender, GuidePagesGoOnMainInTheirOrderAndTheRestOnBulk) {
    make_sender(true);
    push_all({40, 7, 33});
    EXPECT_EQ(on_main.pages, (std::vector<std::uint64_t>{40, 7, 33}));
    EXPECT_EQ(on_bulk.pages.front(), 0U);
    EXPECT_EQ(all_arrived(), all_pages()) << "each exactly once";
    EXPECT_EQ(on_bulk.zeros, 2U);
    EXPECT_TRUE(on_main.ended);
    EXPECT_TRUE(on_urgent.ended);
    EXPECT_FALSE(on_bulk.ended) << "the stream ends on main";
    EXPECT_EQ(ledger->delivered(ledger::PageClass::guide), 3U);
    EXPECT_EQ(ledger->delivered(ledger::PageClass::background), ram_pages - 3);
    EXPECT_FALSE(kinds_on_main.contains(FrameKind::split))
        << "the merger does not buffer whole frames of main";
    EXPECT_GT(kinds_on_bulk[FrameKind::split], 0U) << "background data is sent from its file";
}

class Compressing : public Sender, public testing::WithParamInterface<Compress> {};

TEST_P(Compressing, WhatShrinksIsSentSmaller) {
    compress = GetParam();
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 50}).value());
    push_all({40, 7, 33});
    EXPECT_EQ(on_urgent.pages, std::vector<std::uint64_t>{50});
    EXPECT_EQ(on_main.pages, (std::vector<std::uint64_t>{40, 7, 33}));
    EXPECT_EQ(all_arrived().size(), ram_pages - 1) << "each exactly once";
    EXPECT_TRUE(on_main.ended);
    EXPECT_TRUE(on_urgent.ended);
    EXPECT_GT(kinds_on_main[FrameKind::compressed], 0U);
    EXPECT_GT(kinds_on_bulk[FrameKind::compressed], 0U);
    EXPECT_FALSE(kinds_on_bulk.contains(FrameKind::split)) << "nothing is sent from its file";
    EXPECT_FALSE(kinds_on_urgent.contains(FrameKind::compressed)) << "nobody waits for the link";
    // The pages have a byte each.
    const CompressionCounts& counts = sender->compression();
    EXPECT_GT(counts.bytes, (ram_pages - 4) * page_size);
    EXPECT_LT(counts.sent, counts.bytes / 20);
    EXPECT_GT(counts.cpu_ns, 0U);
    EXPECT_LT(sender->bytes(ledger::PageClass::background), ram_pages * page_size / 20)
        << "what was sent is what counts";
    EXPECT_LT(sender->bytes(ledger::PageClass::guide), page_size);
}

INSTANTIATE_TEST_SUITE_P(Each, Compressing, testing::Values(Compress::lz4, Compress::zstd),
                         [](const auto& param) {
                             return param.param == Compress::lz4 ? "lz4" : "zstd";
                         });

TEST_F(Sender, WhatDoesNotShrinkIsSentAsItIs) {
    std::uint64_t random = 88172645463325252U;
    for (std::uint64_t page = 0; page < ram_pages - 2; ++page) {
        std::array<std::uint64_t, page_size / sizeof(std::uint64_t)> words;
        for (std::uint64_t& word : words) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            word = random;
        }
        words[0] = (words[0] & ~std::uint64_t{0xff}) | (page + 1);
        ASSERT_EQ(::pwrite(image->blocks()[0].file.get(), words.data(), page_size,
                           static_cast<off_t>(page * page_size)),
                  static_cast<ssize_t>(page_size));
    }
    compress = Compress::zstd;
    make_sender(true);
    push_all({40, 7, 33});
    EXPECT_EQ(all_arrived(), all_pages()) << "each exactly once";
    EXPECT_FALSE(kinds_on_main.contains(FrameKind::compressed));
    EXPECT_FALSE(kinds_on_bulk.contains(FrameKind::compressed));
    EXPECT_EQ(sender->compression().bytes, 0U);
    EXPECT_GT(sender->compression().cpu_ns, 0U) << "it was tried";
}

TEST_F(Sender, WithoutAnUrgentChannelMainIsNotHeldUpByACompressor) {
    compress = Compress::zstd;
    make_sender(false);
    push_all({40, 7, 33});
    EXPECT_FALSE(kinds_on_main.contains(FrameKind::compressed));
    EXPECT_GT(kinds_on_bulk[FrameKind::compressed], 0U);
    EXPECT_EQ(all_arrived(), all_pages()) << "each exactly once";
}

TEST_F(Sender, AByteCostsTheTimeThatTheLinkMakesItWait) {
    sender.emplace(PageChannels{.main = pair(main_end), .bulk = pair(bulk_end)}, Marks{}, 0, wake);
    sender->begin(*ledger, *image, {0}, ram_section);
    ledger->seal();
    EXPECT_EQ(sender->link_cost().link, 0);
    std::array<PageRef, 8> pages;
    for (std::uint64_t page = 0; page < pages.size(); ++page)
        pages[page] = {0, page};
    const auto sent = sender->send(pages, ledger::PageClass::warm).value();
    ASSERT_GT(sent.bytes, pages.size() * page_size);
    const auto seconds = [&] {
        return sender->link_cost().link * static_cast<double>(sent.bytes) / 1e9;
    };
    EXPECT_LT(seconds(), 1);
    sender->waited_for_bulk(100s, sent.bytes);
    EXPECT_NEAR(seconds(), 100, 1.1) << "it is on its way";
    sender->waited_for_bulk(100s, 3 * sent.bytes + 100'000);
    EXPECT_NEAR(seconds(), 100, 1.1) << "most has arrived: the destination was waited for";
    sender->waited_for_main(100s);
    EXPECT_NEAR(seconds(), 200, 1.1);
    sender->rested(100s);
    EXPECT_NEAR(seconds(), 200, 1.1) << "that was no wait for the link";
    EXPECT_GT(sender->link_cost().limit, 0);
}

TEST_F(Sender, PrecopyIsCompressedButForItsBeginning) {
    compress = Compress::zstd;
    cut_short = true;
    make_sender(true);
    stream::Buffer sections;
    while (sections.size() < 8000) {
        stream::append_section_part(sections, ram_section);
        stream::append_end_of_ram(sections);
        stream::append_section_footer(sections, ram_section);
    }
    Gather bytes;
    bytes.refer(sections);
    ASSERT_TRUE(sender->relay(bytes));
    EXPECT_EQ(sender->relay_saved(), 0U);
    ASSERT_TRUE(sender->relay(bytes));
    EXPECT_GT(sender->relay_saved(), 7000U);
    finish_reading();
    EXPECT_EQ(kinds_on_main[FrameKind::compressed], 1U);
    EXPECT_EQ(main_bytes.size(), opening.size() + 2 * sections.size());
}

TEST_F(Sender, TheHotSetGoesBeforeTheBackground) {
    make_sender(true);
    push_all({40, 7}, {{"gone", "pc.ram"}, {{1, 33}, {0, 1}, {1, 40}, {1, 30}, {1, ram_pages}}});
    EXPECT_EQ(on_main.pages, (std::vector<std::uint64_t>{40, 7}));
    ASSERT_GE(on_bulk.pages.size(), 3U);
    EXPECT_EQ((std::vector(on_bulk.pages.begin(), on_bulk.pages.begin() + 3)),
              (std::vector<std::uint64_t>{33, 30, 0}));
    EXPECT_EQ(all_arrived(), all_pages()) << "each exactly once";
    EXPECT_EQ(ledger->delivered(ledger::PageClass::guide), 2U);
    EXPECT_EQ(ledger->delivered(ledger::PageClass::warm), 2U);
}

TEST_F(Sender, TheHotSetDoesNotWaitForTheBackground) {
    make_sender(true);
    GuidePusher guide(*sender, {}, match, wake_guide, wake);
    BulkPusher bulk(*sender, *image, guide, next, 1h, nullptr, wake);
    bulk.set_warm({{"pc.ram"}, {{0, 9}, {0, 3}}});
    push_beside(guide, bulk, [&] {
        std::this_thread::sleep_for(20ms);
        EXPECT_EQ(ledger->delivered(ledger::PageClass::warm), 0U) << "the VM does not run yet";
        bulk.on_resumed();
        while (ledger->delivered(ledger::PageClass::warm) < 2)
            std::this_thread::sleep_for(1ms);
        EXPECT_EQ(ledger->delivered(ledger::PageClass::background), 0U);
        bulk.release_background();
    });
    EXPECT_TRUE(on_main.ended);
}

TEST_F(Sender, WhatFollowsAFaultGoesBeforeTheHotSet) {
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 20}).value());
    next.asked_before({0, 21}, *ledger);
    EXPECT_TRUE(sender->send_urgent({0, 58}).value());
    next.asked_before({0, 59}, *ledger);
    push_all({60}, {{"pc.ram"}, {{0, 33}, {0, 22}}});
    EXPECT_EQ(on_urgent.pages, (std::vector<std::uint64_t>{20, 58}));
    EXPECT_EQ(on_main.pages, std::vector<std::uint64_t>{60}) << "the guide goes first";
    ASSERT_GE(on_bulk.pages.size(), 9U);
    EXPECT_EQ((std::vector(on_bulk.pages.begin(), on_bulk.pages.begin() + 9)),
              (std::vector<std::uint64_t>{59, 61, 62, 21, 22, 23, 24, 33, 0}))
        << "the newest fault first, zeros too; then the hot set; then the background";
    EXPECT_EQ(all_arrived().size(), ram_pages - 2) << "each exactly once";
    EXPECT_EQ(ledger->delivered(ledger::PageClass::warm), 8U);
    EXPECT_TRUE(on_main.ended);
}

TEST_F(Sender, WhatFollowsAFaultDoesNotWaitForTheBackground) {
    make_sender(true);
    GuidePusher guide(*sender, {}, match, wake_guide, wake);
    BulkPusher bulk(*sender, *image, guide, next, 1h, nullptr, wake);
    push_beside(guide, bulk, [&] {
        next.asked_before({0, 10}, *ledger);
        std::this_thread::sleep_for(20ms);
        EXPECT_EQ(ledger->delivered(ledger::PageClass::warm), 0U) << "the VM does not run yet";
        bulk.on_resumed();
        while (bulk.next_sent() < next_pages)
            std::this_thread::sleep_for(1ms);
        // Sequential: two of the pages after this request have already been sent.
        next.asked_before({0, 12}, *ledger);
        while (bulk.next_sent() < next_pages + 2)
            std::this_thread::sleep_for(1ms);
        EXPECT_EQ(ledger->delivered(ledger::PageClass::background), 0U);
        bulk.release_background();
    });
    EXPECT_EQ((std::vector(on_bulk.pages.begin(), on_bulk.pages.begin() + 6)), from(10, 6));
    EXPECT_EQ(bulk.next_sent(), ledger->delivered(ledger::PageClass::warm));
    EXPECT_EQ(all_arrived(), all_pages()) << "each exactly once";
    EXPECT_TRUE(on_main.ended);
}

TEST_F(Sender, AHugePageFollowsWhole) {
    set_granule(granule);
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 7}).value());
    next.asked_before({0, granule}, *ledger);
    push_all({});
    EXPECT_EQ(on_bulk.pages, from(granule, granule));
    EXPECT_EQ(ledger->delivered(ledger::PageClass::warm), granule);
}

TEST_F(Sender, APageOfTheGuideThatWouldWaitInTheSocketIsLeftToWhoNeedsItAtOnce) {
    read_main = false;
    make_sender(true);
    // Empty sections, more than a quarter of the socket's buffer: then it is no longer writable.
    stream::Buffer much;
    while (much.size() < 100 * std::size_t{1024}) {
        stream::append_section_part(much, ram_section);
        stream::append_end_of_ram(much);
        stream::append_section_footer(much, ram_section);
    }
    Gather bytes;
    bytes.refer(much);
    ASSERT_TRUE(sender->relay(bytes));
    push_while_guide_is_busy({40}, [&](BulkPusher& bulk) {
        std::this_thread::sleep_for(20ms);
        EXPECT_EQ(sender->send_urgent({0, 40}), true);
        bulk.on_resumed();
        read_main = true;
    });
    EXPECT_EQ(on_urgent.pages, from(40, 1));
    EXPECT_EQ(on_main.pages, from(0, 0));
}

TEST_F(Sender, WhileAPageOfTheGuideWaitsNothingElseIsSent) {
    set_granule(granule);
    read_main = false;
    make_sender(true);
    // The room is too small for a granule.
    const int small = 1;
    ::setsockopt(sender->main_socket(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    push_while_guide_is_busy({40}, [&](BulkPusher& bulk) {
        bulk.on_resumed();
        std::this_thread::sleep_for(20ms);
        EXPECT_EQ(ledger->delivered(ledger::PageClass::background), 0U);
        read_main = true;
    });
    EXPECT_EQ(on_main.pages, from(32, 32));
    EXPECT_EQ(on_bulk.pages, from(0, 32));
}

TEST_F(Sender, UrgentPagesUseTheirChannelAndAreNotSentAgain) {
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 50}).value());
    EXPECT_FALSE(sender->send_urgent({0, 50}).value()) << "the request crossed the page";
    push_all({50, 51});
    EXPECT_EQ(on_urgent.pages, std::vector<std::uint64_t>{50});
    EXPECT_EQ(on_main.pages, std::vector<std::uint64_t>{51});
    EXPECT_EQ(on_bulk.pages.size(), ram_pages - 2);
}

TEST_F(Sender, UrgentPagesDoNotWaitForThoseOfTheSourcesStream) {
    read_main = false;
    make_sender(true);
    const int small = 1;
    ::setsockopt(sender->main_socket(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    constexpr std::uint64_t relayed = 40;
    std::thread relay([&] {
        std::vector<std::byte> room(page_size);
        for (std::uint64_t page = 0; page < relayed; ++page) {
            image::PageContent content;
            EXPECT_TRUE(image->read(0, page, std::span(&content, 1), room));
            EXPECT_TRUE(sender->forward({0, page}, content, false, false).value_or(false));
        }
    });
    while (ledger->delivered(ledger::PageClass::background) == 0)
        std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(sender->send_urgent({0, 50}).value());
    EXPECT_LT(ledger->delivered(ledger::PageClass::background), relayed) << "nobody reads main";
    read_main = true;
    relay.join();
    push_all({});
    EXPECT_EQ(on_urgent.pages, std::vector<std::uint64_t>{50});
    EXPECT_EQ(on_main.pages, from(0, relayed));
}

TEST_F(Sender, TheBackgroundIsRightWhereItsPagesAreFarApart) {
    constexpr std::uint64_t windows = 3, all = windows * image::SourceImage::window;
    // Pages of several windows in one section, with and without data after them.
    const std::vector<std::uint64_t> with_data{62, 63, 64, 130, 131};
    UniqueFd file(::memfd_create("ram", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), all * page_size), 0);
    for (const std::uint64_t page : with_data) {
        const auto mark = static_cast<unsigned char>(page + 1);
        ASSERT_EQ(::pwrite(file.get(), &mark, 1, static_cast<off_t>(page * page_size)), 1);
    }
    std::vector<image::ImageBlock> blocks;
    blocks.push_back({"pc.ram", "pc.ram", all * page_size, std::move(file), 0, std::nullopt});
    image.emplace(image::SourceImage::open(std::move(blocks)).value());
    ledger.emplace(std::vector<ledger::Ledger::Block>{{"pc.ram", all}});
    make_sender(true);
    push_all({});
    ASSERT_GE(on_bulk.pages.size(), with_data.size());
    EXPECT_EQ((std::vector(on_bulk.pages.begin(), on_bulk.pages.begin() + 5)), with_data);
    EXPECT_EQ(on_bulk.zeros, all - with_data.size());
    EXPECT_EQ(all_arrived(), from(0, all)) << "each exactly once";
}

TEST_F(Sender, WithoutAPreemptChannelUrgentPagesGoOnMain) {
    make_sender(false);
    EXPECT_TRUE(sender->send_urgent({0, 9}).value());
    push_all({});
    EXPECT_EQ(on_main.pages, std::vector<std::uint64_t>{9});
    EXPECT_EQ(all_arrived(), all_pages());
}

TEST_F(Sender, TheGuidesTouchesAreCompared) {
    make_sender(true);
    push_all({60, 7});
    match.requested({0, 7});
    match.requested({0, 9});
    for (std::uint64_t i = 1; i < GuideMatch::window; ++i)
        match.requested({0, 9});
    const auto apart = match.judge(GuideMatch::window);
    ASSERT_TRUE(apart);
    EXPECT_EQ(apart->matched, 1U);
}

TEST_F(Sender, HeldBackgroundWaitsForItsRelease) {
    make_sender(true);
    FakeCapture capture({3});
    GuidePusher guide(*sender, {{"pc.ram", &capture}}, match, wake_guide, wake);
    BulkPusher bulk(*sender, *image, guide, next, 1h, nullptr, wake);
    bulk.on_resumed();
    expect_background_waits_for(bulk, guide, &BulkPusher::release_background);
}

TEST_F(Sender, BackgroundWaitsUntilTheVmRuns) {
    make_sender(true);
    FakeCapture capture({3});
    GuidePusher guide(*sender, {{"pc.ram", &capture}}, match, wake_guide, wake);
    BulkPusher bulk(*sender, *image, guide, next, 0ms, nullptr, wake);
    expect_background_waits_for(bulk, guide, &BulkPusher::on_resumed);
}

TEST_F(Sender, TheEndIsRefusedWhileAPageIsMissing) {
    cut_short = true;
    make_sender(true);
    const auto ended = sender->finish();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().kind, ErrorKind::protocol);
    finish_reading();
    EXPECT_FALSE(on_main.ended);
}

TEST_F(Sender, AGuideThatTouchesBeyondTheBlockIsNotFollowed) {
    make_sender(true);
    push_all({ram_pages, ram_pages + 7, 5});
    EXPECT_EQ(on_main.pages, std::vector<std::uint64_t>{5});
    EXPECT_EQ(all_arrived(), all_pages());
}

TEST_F(Sender, ARequestIsAnsweredWithItsWholeGranule) {
    set_granule(granule);
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 40}).value());
    EXPECT_FALSE(sender->send_urgent({0, 33}).value()) << "sent with page 40";
    push_all({});
    EXPECT_EQ(on_urgent.pages, from(32, 32));
    EXPECT_EQ(on_bulk.pages, from(0, 32));
    EXPECT_TRUE(on_main.ended);
}

TEST_F(Sender, APageThatTheGuideTouchesPushesItsGranule) {
    set_granule(granule);
    make_sender(true);
    push_all({63, 32, 5});
    auto expected = from(32, 32);
    std::ranges::copy(from(0, 32), std::back_inserter(expected));
    EXPECT_EQ(on_main.pages, expected) << "granule by granule, in the guide's order";
    EXPECT_EQ(ledger->delivered(ledger::PageClass::guide), ram_pages);
}

TEST_F(Sender, GranulesOfAProcessAreSentWholeOverAllChannels) {
    void* at = ::mmap(nullptr, ram_pages * page_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    const Mapping map(at, ram_pages * page_size);
    for (std::uint64_t page = 0; page < ram_pages - 2; ++page)
        map.data()[page * page_size] = static_cast<std::byte>(page + 1);
    std::vector<image::ImageBlock> blocks;
    blocks.push_back({"pc.ram", "pc.ram", map.size(), UniqueFd(), 0,
                      ProcessMemory::open(::getpid(), reinterpret_cast<std::uintptr_t>(at),
                                          map.size(), Underlay{})
                          .value()});
    image.emplace(image::SourceImage::open(std::move(blocks)).value());
    set_granule(8);
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 60}).value());
    push_all({17, 3});
    EXPECT_EQ(on_urgent.pages, from(56, 8));
    EXPECT_EQ(on_urgent.zeros, 2U);
    EXPECT_EQ((std::vector(on_main.pages.begin(), on_main.pages.begin() + 8)), from(16, 8));
    EXPECT_EQ(all_arrived(), from(0, 56));
}

}  // namespace
}  // namespace gc::transfer
