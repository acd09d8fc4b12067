// SPDX-License-Identifier: GPL-2.0-or-later
// The order in which pages leave, and that each leaves once: PageSender and Pusher over socket
// pairs and a memfd.
#include "transfer/page_sender.h"
#include "transfer/pusher.h"

#include "stream/reader.h"
#include "stream/writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <iterator>
#include <numeric>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace gc {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t ram_pages = 64;
constexpr std::uint32_t ram_section = 2;

/// What the guide "touched", given by the test.
class FakeCapture final : public capture::Source {
  public:
    explicit FakeCapture(std::vector<std::uint64_t> pages) : pages_(std::move(pages)) {}
    Result<std::size_t> read(std::span<capture::Record> into) override {
        std::size_t count = 0;
        while (count < into.size() && next_ < pages_.size())
            into[count++] = {pages_[next_++], 0, 1, capture::Kind::read};
        return count;
    }
    [[nodiscard]] int fd() const override { return -1; }
    Result<capture::Stats> stats() override { return capture::Stats{}; }

  private:
    std::vector<std::uint64_t> pages_;
    std::size_t next_ = 0;
};

struct Arrived {
    std::vector<std::uint64_t> pages;
    std::size_t zeros = 0;
    bool ended = false;
};

/// Reads a channel to its end.
Arrived drain(int fd, stream::Start start) {
    stream::Reader reader(start);
    std::vector<std::byte> buffer;
    Arrived arrived;
    std::array<std::byte, 65536> chunk;
    for (;;) {
        const auto got = read_some(fd, chunk);
        if (!got || *got == 0)
            return arrived;
        buffer.insert(buffer.end(), chunk.begin(),
                      chunk.begin() + static_cast<std::ptrdiff_t>(*got));
        std::span<const std::byte> input(buffer);
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
        buffer.erase(buffer.begin(), buffer.end() - static_cast<std::ptrdiff_t>(input.size()));
    }
}

class Sender : public testing::Test {
  protected:
    void SetUp() override {
        UniqueFd file(::memfd_create("ram", MFD_CLOEXEC));
        ASSERT_EQ(::ftruncate(file.get(), ram_pages * page_size), 0);
        // The last page is a hole, the one before it all zero.
        for (std::uint64_t page = 0; page < ram_pages - 2; ++page) {
            const auto mark = static_cast<unsigned char>(page + 1);
            ASSERT_EQ(::pwrite(file.get(), &mark, 1, static_cast<off_t>(page * page_size)), 1);
        }
        const unsigned char zero = 0;
        ASSERT_EQ(::pwrite(file.get(), &zero, 1, (ram_pages - 2) * page_size), 1);
        std::vector<ImageBlock> blocks;
        blocks.push_back(
            {"pc.ram", "pc.ram", ram_pages * page_size, std::move(file), 0, std::nullopt});
        image.emplace(SourceImage::open(std::move(blocks)).value());
        set_granule(1);
    }

    void set_granule(std::uint64_t pages) {
        ledger.emplace(std::vector<Ledger::Block>{{"pc.ram", ram_pages, pages}});
    }

    void make_sender(bool with_urgent) {
        UniqueFd main = pair(main_end), urgent;
        if (with_urgent)
            urgent = pair(urgent_end);
        sender.emplace(std::move(main), std::move(urgent), 0, wake);
        sender->begin(*ledger, *image, {0}, ram_section);
        // What opens the section on main, as the source's own stream would have.
        stream::Buffer opening;
        stream::append_header(opening);
        stream::append_section_start(opening, stream::Tag::section_start, ram_section, "ram", 0, 4);
        stream::append_block_list(opening, ram_pages * page_size);
        stream::append_block(opening, "pc.ram", ram_pages * page_size, {}, {});
        stream::append_end_of_ram(opening);
        stream::append_section_footer(opening, ram_section);
        ASSERT_TRUE(sender->switch_over(opening));
        main_reader =
            std::thread([this] { on_main = drain(main_end.get(), stream::Start::header); });
        if (with_urgent)
            urgent_reader = std::thread(
                [this] { on_urgent = drain(urgent_end.get(), stream::Start::records); });
    }

    void finish_reading() {
        sender->shut_down();
        for (std::thread* reader : {&main_reader, &urgent_reader})
            if (reader->joinable())
                reader->join();
    }

    /// Whatever the guide touched is sent, and no background until `event`; then all.
    void expect_background_waits_for(Pusher& pusher, void (Pusher::*event)()) {
        std::thread pushing([&] { EXPECT_TRUE(pusher.run(*ledger)); });
        while (ledger->delivered(Class::guide) == 0)
            std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(20ms);
        EXPECT_EQ(ledger->delivered(Class::background), 0U);
        (pusher.*event)();
        pushing.join();
        finish_reading();
        EXPECT_TRUE(on_main.ended);
    }

    static UniqueFd pair(UniqueFd& other) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        other.reset(ends[1]);
        return UniqueFd(ends[0]);
    }

    Waker wake = Waker::create().value();
    std::optional<SourceImage> image;
    std::optional<Ledger> ledger;
    std::optional<PageSender> sender;
    UniqueFd main_end, urgent_end;
    std::thread main_reader, urgent_reader;
    Arrived on_main, on_urgent;
};

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> pages) {
    std::ranges::sort(pages);
    return pages;
}

std::vector<std::uint64_t> all_pages() {
    std::vector<std::uint64_t> pages(ram_pages);
    for (std::uint64_t page = 0; page < ram_pages; ++page)
        pages[page] = page;
    return pages;
}

TEST_F(Sender, GuidePagesComeFirstInTheirOrderThenTheRest) {
    make_sender(true);
    FakeCapture guide({40, 7, 33});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    ASSERT_GE(on_main.pages.size(), 4U);
    EXPECT_EQ((std::vector(on_main.pages.begin(), on_main.pages.begin() + 4)),
              (std::vector<std::uint64_t>{40, 7, 33, 0}));
    EXPECT_EQ(sorted(on_main.pages), all_pages()) << "each exactly once";
    EXPECT_EQ(on_main.zeros, 2U);
    EXPECT_TRUE(on_main.ended);
    EXPECT_TRUE(on_urgent.ended);
    EXPECT_EQ(ledger->delivered(Class::guide), 3U);
    EXPECT_EQ(ledger->delivered(Class::background), ram_pages - 3);
}

TEST_F(Sender, TheHotSetGoesBetweenTheGuideAndTheBackground) {
    make_sender(true);
    FakeCapture guide({40, 7});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    pusher.set_warm({{"gone", "pc.ram"}, {{1, 33}, {0, 1}, {1, 40}, {1, 30}, {1, ram_pages}}});
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    ASSERT_GE(on_main.pages.size(), 5U);
    EXPECT_EQ((std::vector(on_main.pages.begin(), on_main.pages.begin() + 5)),
              (std::vector<std::uint64_t>{40, 7, 33, 30, 0}));
    EXPECT_EQ(sorted(on_main.pages), all_pages()) << "each exactly once";
    EXPECT_EQ(ledger->delivered(Class::guide), 2U);
    EXPECT_EQ(ledger->delivered(Class::warm), 2U);
}

TEST_F(Sender, TheHotSetDoesNotWaitForTheBackground) {
    make_sender(true);
    Pusher pusher(*sender, *image, {}, 1h, wake);
    pusher.set_warm({{"pc.ram"}, {{0, 9}, {0, 3}}});
    std::thread pushing([&] { EXPECT_TRUE(pusher.run(*ledger)); });
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(ledger->delivered(Class::warm), 0U) << "the VM does not run yet";
    pusher.on_resumed();
    while (ledger->delivered(Class::warm) < 2)
        std::this_thread::sleep_for(1ms);
    EXPECT_EQ(ledger->delivered(Class::background), 0U);
    pusher.release_background();
    pushing.join();
    finish_reading();
    EXPECT_TRUE(on_main.ended);
}

TEST_F(Sender, UrgentPagesUseTheirChannelAndAreNotSentAgain) {
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 50}).value());
    EXPECT_FALSE(sender->send_urgent({0, 50}).value()) << "a request that crossed its page";
    FakeCapture guide({50, 51});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    EXPECT_EQ(on_urgent.pages, std::vector<std::uint64_t>{50});
    EXPECT_EQ(on_main.pages.size(), ram_pages - 1);
    EXPECT_EQ(on_main.pages.front(), 51U);
}

TEST_F(Sender, WithoutAPreemptChannelUrgentPagesGoOnMain) {
    make_sender(false);
    EXPECT_TRUE(sender->send_urgent({0, 9}).value());
    Pusher pusher(*sender, *image, {}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    EXPECT_EQ(on_main.pages.front(), 9U);
    EXPECT_EQ(sorted(on_main.pages), all_pages());
}

TEST_F(Sender, HeldBackgroundWaitsForItsRelease) {
    make_sender(true);
    FakeCapture guide({3});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 1h, wake);
    pusher.on_resumed();
    expect_background_waits_for(pusher, &Pusher::release_background);
}

TEST_F(Sender, BackgroundWaitsUntilTheVmRuns) {
    make_sender(true);
    FakeCapture guide({3});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    expect_background_waits_for(pusher, &Pusher::on_resumed);
}

TEST_F(Sender, TheEndIsRefusedWhileAPageIsMissing) {
    make_sender(true);
    const auto ended = sender->finish();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().kind, ErrorKind::protocol);
    finish_reading();
    EXPECT_FALSE(on_main.ended);
}

TEST_F(Sender, AGuideThatTouchesBeyondTheBlockIsNotFollowed) {
    make_sender(true);
    FakeCapture guide({ram_pages, ram_pages + 7, 5});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    EXPECT_EQ(on_main.pages.front(), 5U);
    EXPECT_EQ(sorted(on_main.pages), all_pages());
}

constexpr std::uint64_t granule = 32;

std::vector<std::uint64_t> from(std::uint64_t first, std::uint64_t count) {
    std::vector<std::uint64_t> pages(count);
    std::iota(pages.begin(), pages.end(), first);
    return pages;
}

TEST_F(Sender, ARequestIsAnsweredWithItsWholeGranule) {
    set_granule(granule);
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 40}).value());
    EXPECT_FALSE(sender->send_urgent({0, 33}).value()) << "it went with page 40";
    Pusher pusher(*sender, *image, {}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    EXPECT_EQ(on_urgent.pages, from(32, 32));
    EXPECT_EQ(on_main.pages, from(0, 32));
    EXPECT_TRUE(on_main.ended);
}

TEST_F(Sender, APageThatTheGuideTouchesPushesItsGranule) {
    set_granule(granule);
    make_sender(true);
    FakeCapture guide({63, 32, 5});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    auto expected = from(32, 32);
    std::ranges::copy(from(0, 32), std::back_inserter(expected));
    EXPECT_EQ(on_main.pages, expected) << "granule by granule, in the guide's order";
    EXPECT_EQ(ledger->delivered(Class::guide), ram_pages);
}

TEST_F(Sender, GranulesOfAProcessAreSentWholeOverBothChannels) {
    void* at = ::mmap(nullptr, ram_pages * page_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    const Mapping map(at, ram_pages * page_size);
    for (std::uint64_t page = 0; page < ram_pages - 2; ++page)
        map.data()[page * page_size] = static_cast<std::byte>(page + 1);
    std::vector<ImageBlock> blocks;
    blocks.push_back({"pc.ram", "pc.ram", map.size(), UniqueFd(), 0,
                      ProcessMemory::open(::getpid(), reinterpret_cast<std::uintptr_t>(at),
                                          map.size(), Underlay{})
                          .value()});
    image.emplace(SourceImage::open(std::move(blocks)).value());
    set_granule(8);
    make_sender(true);
    EXPECT_TRUE(sender->send_urgent({0, 60}).value());
    FakeCapture guide({17, 3});
    Pusher pusher(*sender, *image, {{"pc.ram", &guide}}, 0ms, wake);
    pusher.on_resumed();
    ASSERT_TRUE(pusher.run(*ledger));
    finish_reading();
    EXPECT_EQ(on_urgent.pages, from(56, 8));
    EXPECT_EQ(on_urgent.zeros, 2U);
    EXPECT_EQ((std::vector(on_main.pages.begin(), on_main.pages.begin() + 8)), from(16, 8));
    EXPECT_EQ(sorted(on_main.pages), from(0, 56));
}

}  // namespace
}  // namespace gc
