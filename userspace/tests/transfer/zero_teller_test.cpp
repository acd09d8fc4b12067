// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages the destination is told to be zeros: over socket pairs and memfds.
#include "transfer/zero_teller.h"

#include "peer/frame.h"
#include "peer/zero_runs.h"
#include "util/socket.h"

#include <array>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <optional>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gc::transfer {
namespace {

using ledger::PageClass;
using ledger::PageRun;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint32_t section = 2;

class Telling : public testing::Test {
  protected:
    /// A RAM block in a file in which only these pages were written.
    void add_block(std::string name, std::uint64_t pages, const std::vector<std::uint64_t>& written,
                   std::uint64_t granule = 1) {
        UniqueFd file(::memfd_create("ram", MFD_CLOEXEC));
        ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(pages * page_size)), 0);
        for (const std::uint64_t page : written) {
            const char mark = 'x';
            ASSERT_EQ(::pwrite(file.get(), &mark, 1, static_cast<off_t>(page * page_size)), 1);
        }
        blocks.push_back({name, name, pages * page_size, std::move(file), 0, std::nullopt});
        in_ledger.push_back({name, pages, granule});
    }
    void make() {
        std::vector<std::size_t> index;
        for (std::size_t i = 0; i < blocks.size(); ++i)
            index.push_back(i);
        image.emplace(image::SourceImage::open(std::move(blocks)).value());
        in_ledger.push_back({"pc.rom", 64, 1});
        index.push_back(image::SourceImage::none);
        ledger.emplace(in_ledger);
        sender.emplace(PageChannels{.main = pair(main_end), .bulk = pair(bulk_end)}, Marks{}, 0,
                       wake);
        sender->begin(*ledger, *image, index, section);
        teller.emplace(*sender, *image);
    }
    peer::Channel* pair(UniqueFd& other) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        other.reset(ends[1]);
        channels.push_back(peer::Channel::raw(UniqueFd(ends[0])).value());
        return channels.back().get();
    }
    /// What the destination was told of a block.
    std::vector<PageRun> told(std::string_view block) {
        for (;;) {
            std::array<std::byte, peer::frame_head_size> bytes;
            if (!wait_readable(bulk_end.get(), std::chrono::milliseconds(0)).value())
                break;
            EXPECT_TRUE(read_whole(bulk_end.get(), bytes).value());
            const peer::FrameHead head = peer::decode(bytes).value();
            EXPECT_EQ(head.kind, peer::FrameKind::zeros);
            std::vector<std::byte> frame(head.size);
            EXPECT_TRUE(read_whole(bulk_end.get(), frame).value());
            const peer::ZeroRuns zeros = peer::decode_zero_runs(frame).value();
            EXPECT_EQ(zeros.ram_section, section);
            frames.push_back(zeros);
        }
        std::vector<PageRun> runs;
        for (const peer::ZeroRuns& zeros : frames)
            if (zeros.block == block)
                runs.insert(runs.end(), zeros.runs.begin(), zeros.runs.end());
        return runs;
    }

    std::vector<image::ImageBlock> blocks;
    std::vector<ledger::Ledger::Block> in_ledger;
    std::optional<image::SourceImage> image;
    std::optional<ledger::Ledger> ledger;
    std::vector<std::unique_ptr<peer::Channel>> channels;
    UniqueFd main_end, bulk_end;
    Waker wake = Waker::create().value();
    std::optional<PageSender> sender;
    std::optional<ZeroTeller> teller;
    std::vector<peer::ZeroRuns> frames;
};

TEST_F(Telling, HolesThatAreLongEnough) {
    add_block("pc.ram", 200, {30, 40, 57, 58});
    add_block("more", 100, {});
    make();
    ledger->seal();
    ASSERT_TRUE(teller->run(*ledger));
    EXPECT_THAT(told("pc.ram"), ElementsAre(PageRun{0, 30}, PageRun{41, 16}, PageRun{59, 141}));
    EXPECT_THAT(told("more"), ElementsAre(PageRun{0, 100}));
    EXPECT_EQ(teller->runs(), 4U);
    EXPECT_EQ(teller->pages(), 287U);
    EXPECT_EQ(ledger->delivered(PageClass::background), 287U);
    EXPECT_EQ(sender->zero_pages(), 287U);
    EXPECT_GT(sender->bytes(PageClass::background), 0U);
    EXPECT_LT(sender->bytes(PageClass::background), 200U);
    EXPECT_FALSE(sender->send_urgent({0, 59}).value()) << "it was told";
    EXPECT_TRUE(sender->send_urgent({0, 31}).value()) << "too short a run";
}

TEST_F(Telling, NothingThatTheDestinationHas) {
    add_block("pc.ram", 200, {});
    make();
    ASSERT_TRUE(ledger->deliver_precopy(0, 0, 100));
    ledger->seal();
    EXPECT_TRUE(sender->send_urgent({0, 150}).value());
    ASSERT_TRUE(teller->run(*ledger));
    EXPECT_THAT(told("pc.ram"), ElementsAre(PageRun{100, 50}, PageRun{151, 49}));
    EXPECT_EQ(ledger->missing(0), 0U);
}

TEST_F(Telling, NoHugePagesAndNothingOutsideTheImage) {
    add_block("huge", 1024, {}, 512);
    make();
    ledger->seal();
    ASSERT_TRUE(teller->run(*ledger));
    EXPECT_THAT(told("huge"), IsEmpty());
    EXPECT_THAT(told("pc.rom"), IsEmpty());
    EXPECT_EQ(ledger->missing(), 1024U + 64);
}

TEST_F(Telling, OfManyTheLongest) {
    constexpr std::uint64_t count = ZeroTeller::max_runs + 100;
    std::vector<std::uint64_t> written;
    std::uint64_t page = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        page += i % 2 == 0 ? 20 : 40;
        written.push_back(page++);
    }
    add_block("pc.ram", page, written);
    make();
    ledger->seal();
    ASSERT_TRUE(teller->run(*ledger));
    EXPECT_EQ(told("pc.ram").size(), count / 2);
    EXPECT_EQ(told("pc.ram").front(), (PageRun{21, 40}));
    EXPECT_GT(frames.size(), 1U);
}

TEST_F(Telling, TheProtocolsLimitIsKept) {
    add_block("pc.ram", 300, {});
    make();
    for (std::uint64_t i = 0; i < 150; ++i)
        ASSERT_TRUE(ledger->deliver_precopy(0, 2 * i, 1));
    ledger->seal();
    const PageRun all{0, 300};
    const auto some = sender->tell_zeros(0, std::span(&all, 1), peer::max_zero_runs - 50);
    ASSERT_TRUE(some);
    EXPECT_LE(some->runs, 50U);
    EXPECT_GT(some->runs, 0U);
    EXPECT_EQ(ledger->missing(0), 150 - some->pages) << "the rest is sent as pages";
    EXPECT_EQ(sender->tell_zeros(0, std::span(&all, 1), peer::max_zero_runs).value().runs, 0U);
}

TEST_F(Telling, NothingBeforeTheSeal) {
    add_block("pc.ram", 200, {});
    make();
    ASSERT_TRUE(teller->run(*ledger));
    EXPECT_EQ(teller->runs(), 0U);
}

}  // namespace
}  // namespace gc::transfer
