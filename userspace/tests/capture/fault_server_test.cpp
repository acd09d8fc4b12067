// SPDX-License-Identifier: GPL-2.0-or-later
// The server of a guide's page requests, with a guide made of a socket.
#include "capture/fault_server.h"

#include "../stream/samples.h"
#include "util/poll.h"
#include "util/private_socket.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

namespace gc::capture {
namespace {

namespace samples = stream::samples;
using namespace std::chrono_literals;

constexpr std::size_t ram = 0;
constexpr std::size_t rom = 1;
constexpr std::uint64_t ram_pages = 200;
constexpr std::uint32_t max_unread = 4;

class FakeOrigin final : public PageOrigin {
  public:
    [[nodiscard]] bool delivered(std::size_t block, std::uint64_t page) const override {
        const std::lock_guard lock(mutex_);
        return block == ram && there_.contains(page);
    }
    void touched(std::size_t block, std::uint64_t page) override {
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(block, ram);
        touched_.push_back(page);
    }
    Result<Found> find(std::size_t /*block*/, std::uint64_t page,
                       std::span<std::byte> into) override {
        const std::lock_guard lock(mutex_);
        if (!rom_.contains(page))
            return Found::later;
        std::memset(into.data(), rom_.at(page), into.size());
        return rom_.at(page) == 0 ? Found::zero : Found::data;
    }
    void deliver(std::uint64_t first, std::uint64_t count = 1) {
        const std::lock_guard lock(mutex_);
        for (std::uint64_t page = first; page < first + count; ++page)
            there_.insert(page);
    }
    void bring(std::uint64_t page, int fill) {
        const std::lock_guard lock(mutex_);
        rom_[page] = fill;
    }

    [[nodiscard]] std::vector<std::uint64_t> touched_there() const {
        const std::lock_guard lock(mutex_);
        return touched_;
    }

  private:
    mutable std::mutex mutex_;
    std::vector<std::uint64_t> touched_;
    std::set<std::uint64_t> there_;
    std::map<std::uint64_t, int> rom_;
};

/// A VM whose even pages are filled with their number, and whose odd pages are zeros.
class FaultServerTest : public testing::Test {
  protected:
    void SetUp() override {
        UniqueFd file(::memfd_create("ram", MFD_CLOEXEC));
        ASSERT_EQ(::ftruncate(file.get(), ram_pages * page_size), 0);
        for (std::uint64_t page = 0; page < ram_pages; page += 2) {
            const std::vector<std::byte> bytes(page_size, static_cast<std::byte>(page + 1));
            ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(),
                               static_cast<off_t>(page * page_size)),
                      static_cast<ssize_t>(page_size));
        }
        std::vector<image::ImageBlock> blocks;
        blocks.push_back({.name = "pc.ram",
                          .backend = "pc.ram",
                          .length = ram_pages * page_size,
                          .file = std::move(file),
                          .offset = 0,
                          .memory = {}});
        server =
            FaultServer::create(image::SourceImage::open(std::move(blocks)).value(), max_unread)
                .value();
        SocketPair pair = SocketPair::make().value();
        guide = std::move(pair.theirs);
        stream::GuideState state{
            .preamble = samples::preamble(),
            .devices = samples::section(stream::Tag::section_full, 7, "cpu", 1),
            .blocks = {{"pc.ram", ram_pages * page_size}, {"rom", 2 * page_size}},
            .ram_section = samples::ram_id};
        server->start(std::move(pair.ours), std::move(state), origin, failed);
        read_until([this] { return packaged; });
    }
    void TearDown() override {
        guide.reset();
        server->stop();
    }

    void request(std::string_view block, std::uint64_t page, std::uint64_t count = 1) {
        stream::Buffer out;
        stream::append_page_request(out, block, page * page_size,
                                    static_cast<std::uint32_t>(count * page_size));
        ASSERT_TRUE(write_all(guide.get(), out));
    }

    /// Reads what the guide is sent until that holds. @return whether it does
    template <typename Holds> bool read_until(Holds holds, std::chrono::milliseconds limit = 2s) {
        for (const Deadline deadline(limit); !holds();) {
            if (!wait_readable(guide.get(), deadline).value())
                return false;
            std::array<std::byte, 65536> bytes;
            const std::size_t got = read_some(guide.get(), bytes).value();
            if (got == 0)
                return false;
            input.insert(input.end(), bytes.begin(), bytes.begin() + got);
            std::span<const std::byte> rest = input;
            while (auto item = reader.next(rest).value())
                take(*item);
            input.erase(input.begin(), input.end() - static_cast<std::ptrdiff_t>(rest.size()));
        }
        return true;
    }
    bool answered(std::size_t count, std::chrono::milliseconds limit = 2s) {
        return read_until([&] { return answers.size() >= count; }, limit);
    }

    void take(const stream::Item& item) {
        if (std::holds_alternative<stream::Package>(item))
            packaged = true;
        if (const auto* list = std::get_if<stream::RamBlockList>(&item))
            announced = list->blocks.size();
        if (const auto* page = std::get_if<stream::RamPage>(&item))
            answers.push_back(
                {page->index, page->offset / page_size, static_cast<int>(page->data.front())});
        if (const auto* zero = std::get_if<stream::RamZero>(&item))
            answers.push_back({zero->index, zero->offset / page_size, 0});
    }

    std::vector<std::uint64_t> records() {
        std::array<Record, 64> records;
        std::vector<std::uint64_t> pages;
        const std::size_t count = server->feeds().front().source->read(records).value();
        for (std::size_t i = 0; i < count; ++i)
            pages.push_back(records[i].page);
        return pages;
    }
    Stats stats() { return server->feeds().front().source->stats().value(); }

    struct Answer {
        std::size_t block;
        std::uint64_t page;
        int fill;
        bool operator==(const Answer&) const = default;
    };
    FakeOrigin origin;
    Waker failed = Waker::create().value();
    std::unique_ptr<FaultServer> server;
    UniqueFd guide;
    stream::Reader reader;
    std::vector<std::byte> input;
    std::size_t announced = 0;
    bool packaged = false;
    std::vector<Answer> answers;
};

TEST_F(FaultServerTest, SendsTheStateOfAPostCopy) {
    EXPECT_TRUE(packaged);
    EXPECT_EQ(announced, 2U);
}

TEST_F(FaultServerTest, RequestsAreTheRecordsInTheirOrder) {
    for (const std::uint64_t page : {6, 3, 8}) {
        request("pc.ram", page);
        ASSERT_TRUE(answered(answers.size() + 1));
    }
    EXPECT_EQ(answers, (std::vector<Answer>{{ram, 6, 7}, {ram, 3, 0}, {ram, 8, 9}}));
    EXPECT_TRUE(wait_readable(server->feeds().front().source->fd(), 1s).value());
    EXPECT_EQ(records(), (std::vector<std::uint64_t>{6, 3, 8}));
    EXPECT_FALSE(wait_readable(server->feeds().front().source->fd(), 5ms).value());
    EXPECT_EQ(stats().records, 3U);
    EXPECT_EQ(stats().blocked, 0U);
}

TEST_F(FaultServerTest, AnswersWaitForRoomForTheirRecords) {
    for (std::uint64_t page = 0; page < max_unread + 2; ++page)
        request("pc.ram", 2 * page);
    ASSERT_TRUE(answered(max_unread));
    EXPECT_FALSE(answered(max_unread + 1, 50ms));
    EXPECT_EQ(stats().waiting, 1U);
    EXPECT_EQ(records().size(), max_unread);
    EXPECT_TRUE(answered(max_unread + 2));
    EXPECT_EQ(records().size(), 2U);
    EXPECT_EQ(stats().blocked, 2U);
    EXPECT_GE(stats().blocked_ns, 2 * 40'000'000U);
}

TEST_F(FaultServerTest, APageOfTheDestinationIsNoRecordAndWaitsForNoRoom) {
    for (std::uint64_t page = 0; page <= max_unread; ++page)
        request("pc.ram", 2 * page);
    ASSERT_TRUE(answered(max_unread));
    origin.deliver(100);
    request("pc.ram", 100);
    ASSERT_TRUE(answered(max_unread + 1));
    EXPECT_EQ(answers.back(), (Answer{ram, 100, 101}));
    // Also one that waited.
    origin.deliver(2 * max_unread);
    server->wake();
    ASSERT_TRUE(answered(max_unread + 2));
    EXPECT_EQ(records().size(), max_unread);
    EXPECT_EQ(origin.touched_there(), (std::vector<std::uint64_t>{100, 2 * max_unread}));
}

TEST_F(FaultServerTest, AGuideThatReadsOnGetsNeighboursThatTheDestinationHas) {
    origin.deliver(20, 5);
    request("pc.ram", 20);
    ASSERT_TRUE(answered(1));
    EXPECT_FALSE(answered(2, 20ms)) << "a single page is not read on";
    request("pc.ram", 21);
    ASSERT_TRUE(answered(5));
    EXPECT_FALSE(answered(6, 20ms)) << "the destination lacks page 25";
    EXPECT_EQ(answers[4], (Answer{ram, 24, 25}));
    // They were on their way already.
    request("pc.ram", 22);
    request("pc.ram", 25);
    ASSERT_TRUE(answered(6));
    EXPECT_EQ(answers[5], (Answer{ram, 25, 0}));
    EXPECT_EQ(records(), (std::vector<std::uint64_t>{25}));
    EXPECT_EQ(origin.touched_there(), (std::vector<std::uint64_t>{20, 21}))
        << "nobody knows whether it needed the neighbours";
}

TEST_F(FaultServerTest, AGuideGetsWhatTheDestinationRequestedWithoutARequest) {
    for (std::uint64_t page = 0; page <= max_unread; ++page)
        request("pc.ram", 2 * page);
    ASSERT_TRUE(answered(max_unread));
    server->offer(ram, 50);
    server->offer(ram, 2 * max_unread);  // also one that waits for room
    ASSERT_TRUE(answered(max_unread + 2));
    EXPECT_EQ(answers[max_unread], (Answer{ram, 50, 51}));
    EXPECT_EQ(answers[max_unread + 1], (Answer{ram, 2 * max_unread, 2 * max_unread + 1}));
    EXPECT_EQ(records().size(), max_unread);
    // It had been requested meanwhile, or is in place already.
    request("pc.ram", 50);
    server->offer(ram, 50);
    server->offer(rom, 1);
    EXPECT_FALSE(answered(max_unread + 3, 20ms)) << "QEMU fails on a page that comes twice";
}

TEST_F(FaultServerTest, APageOfTheSourcesStreamIsAnsweredWhenItHasCome) {
    request("rom", 1);
    EXPECT_FALSE(answered(1, 20ms));
    request("pc.ram", 2);
    EXPECT_TRUE(answered(1)) << "others do not wait for it";
    origin.bring(1, 9);
    server->wake();
    ASSERT_TRUE(answered(2));
    EXPECT_EQ(answers[1], (Answer{rom, 1, 9}));
    EXPECT_EQ(records(), (std::vector<std::uint64_t>{2})) << "the pusher sends pages of the image";
}

TEST_F(FaultServerTest, AGuideMayRequestOnlyWhatThereIs) {
    request("pc.ram", ram_pages - 1, 2);
    EXPECT_TRUE(wait_readable(failed.fd(), 1s).value());
    ASSERT_TRUE(server->error());
    EXPECT_NE(server->error()->message.find("which the VM does not have"), std::string::npos);
}

TEST_F(FaultServerTest, TheGuidesEndIsAnError) {
    guide.reset();
    EXPECT_TRUE(wait_readable(failed.fd(), 1s).value());
    EXPECT_TRUE(server->error());
}

TEST_F(FaultServerTest, AGuideThatReadsNothingDoesNotKeepItFromStopping) {
    origin.deliver(0, ram_pages);
    // Their answers do not fit into the socket.
    request("pc.ram", 0, ram_pages);
    std::this_thread::sleep_for(20ms);
    server->stop();
    EXPECT_FALSE(server->error());
}

}  // namespace
}  // namespace gc::capture
