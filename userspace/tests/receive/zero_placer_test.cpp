// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/zero_placer.h"

#include "peer/zero_runs.h"
#include "stream/reader.h"

#include <atomic>
#include <gmock/gmock.h>
#include <thread>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;
using ledger::PageRun;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint32_t ram_section = 3;
constexpr std::uint64_t ram_pages = 4096;

class Placing : public testing::Test {
  protected:
    Result<void> tell(std::vector<PageRun> runs, std::uint32_t section = ram_section) {
        return placer.told(peer::encode({section, "m", std::move(runs)}));
    }
    void request(std::uint64_t page) {
        stream::Buffer bytes;
        stream::append_page_request(bytes, "m", page * stream::target_page, stream::target_page);
        placer.saw_requests(bytes);
    }
    [[nodiscard]] bool is_told(std::uint64_t page) const {
        return placer.is_told({"m", page * stream::target_page, stream::target_page});
    }
    /// The pages of the next portion.
    std::vector<std::uint64_t> place() {
        const ZeroPlacer::Portion portion = placer.take();
        if (portion.section.empty())
            return {};
        stream::Buffer records(portion.section.begin() + 5, portion.section.end());
        std::span<const std::byte> input = records;
        stream::Reader reader(stream::Start::records);
        std::vector<std::uint64_t> pages;
        for (auto item = reader.next(input); item && *item; item = reader.next(input))
            if (const auto* zero = std::get_if<stream::RamZero>(&**item))
                pages.push_back(zero->offset / stream::target_page);
        EXPECT_EQ(pages.size(), portion.pages);
        placer.placed(portion.pages);
        return pages;
    }

    std::vector<std::uint64_t> given;
    ZeroPlacer placer{{{.name = "m", .pages = ram_pages}},
                      [this](std::uint32_t section, std::string_view block, std::uint64_t page) {
                          EXPECT_EQ(section, ram_section);
                          EXPECT_EQ(block, "m");
                          given.push_back(page);
                      }};
};

TEST_F(Placing, ARequestedPageIsGivenAtOnceAndOnce) {
    ASSERT_TRUE(tell({{10, 3}}));
    EXPECT_TRUE(is_told(12));
    request(11);
    request(11);
    request(13);
    EXPECT_THAT(given, ElementsAre(11));
    EXPECT_THAT(place(), ElementsAre(12, 10)) << "first what follows the request";
    request(12);
    EXPECT_THAT(given, ElementsAre(11)) << "QEMU has it already";
    EXPECT_TRUE(is_told(12));
    EXPECT_FALSE(is_told(13));
}

TEST_F(Placing, APageThatIsToldAfterItsRequestIsGivenThen) {
    request(11);
    request(500);
    EXPECT_TRUE(given.empty()) << "the source answers";
    ASSERT_TRUE(tell({{10, 3}}));
    EXPECT_THAT(given, ElementsAre(11)) << "the source has nothing more to answer";
    ASSERT_TRUE(tell({{20, 3}}));
    EXPECT_THAT(given, ElementsAre(11));
    EXPECT_THAT(place(), ElementsAre(12, 20, 21, 22, 10));
}

TEST_F(Placing, RequestsMayComeInPieces) {
    ASSERT_TRUE(tell({{10, 3}}));
    stream::Buffer bytes;
    stream::append_page_request(bytes, "m", 11 * stream::target_page, stream::target_page);
    placer.saw_requests(std::span(bytes).first(7));
    EXPECT_TRUE(given.empty());
    placer.saw_requests(std::span(bytes).subspan(7));
    EXPECT_THAT(given, ElementsAre(11));
}

TEST_F(Placing, PortionsAreSmall) {
    ASSERT_TRUE(tell({{0, 1000}}));
    std::size_t most = 0, sum = 0;
    for (auto pages = place(); !pages.empty(); pages = place()) {
        most = std::max(most, pages.size());
        sum += pages.size();
    }
    EXPECT_EQ(most, 64U);
    EXPECT_EQ(sum, 1000U);
    EXPECT_TRUE(placer.take().section.empty()) << "not an empty section";
}

TEST_F(Placing, WhatFollowsARequestIsHurried) {
    ASSERT_TRUE(tell({{0, 1000}}));
    EXPECT_FALSE(placer.hurried());
    request(100);
    EXPECT_TRUE(placer.hurried());
    EXPECT_EQ(place().front(), 101U);
    EXPECT_FALSE(placer.hurried());
}

TEST_F(Placing, NothingIsPlacedBeforeTheVmRunsButWhatItRequests) {
    ASSERT_TRUE(tell({{0, 10}}));
    std::atomic<bool> work = false;
    std::thread waiting([&] { work = placer.await_work(); });
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(work);
    request(3);
    EXPECT_THAT(given, ElementsAre(3));
    placer.begin();
    waiting.join();
    EXPECT_TRUE(work);
}

TEST_F(Placing, TheEndComesWhenAllIsToldAndInQemusHands) {
    std::atomic<bool> ended = false;
    std::thread waiting([&] {
        EXPECT_TRUE(placer.await_placed());
        ended = true;
    });
    const auto expect_open = [&](const char* why) {
        std::this_thread::sleep_for(10ms);
        EXPECT_FALSE(ended) << why;
    };
    expect_open("more may be told");
    ASSERT_TRUE(tell({{0, 10}}));
    placer.told_all();
    expect_open("pages are left");
    const ZeroPlacer::Portion portion = placer.take();
    expect_open("pages are in hand");
    placer.placed(portion.pages);
    waiting.join();
    placer.begin();
    EXPECT_FALSE(placer.await_work());
    placer.stop();
    EXPECT_TRUE(placer.await_placed()) << "the streams end one after the other";
}

TEST_F(Placing, StopEndsAllWaits) {
    ASSERT_TRUE(tell({{0, 10}}));
    std::thread end([this] { EXPECT_FALSE(placer.await_placed()); });
    std::thread work([this] { EXPECT_FALSE(placer.await_work()); });
    placer.stop();
    end.join();
    work.join();
    request(3);
    EXPECT_TRUE(given.empty());
    EXPECT_TRUE(placer.take().section.empty());
}

TEST_F(Placing, WhatDoesNotFitIsRefused) {
    EXPECT_FALSE(tell({{ram_pages, 1}}));
    EXPECT_FALSE(placer.told(std::vector<std::byte>(7)));
    ASSERT_TRUE(tell({{0, 10}}));
    EXPECT_THAT(tell({{20, 10}}, 4).error().message, HasSubstr("names section 4"));
}

TEST_F(Placing, WhatCannotBeReadIsLeftToTheSource) {
    ASSERT_TRUE(tell({{0, 10}}));
    placer.saw_requests(stream::Buffer(64, std::byte{0xff}));
    request(3);
    EXPECT_TRUE(given.empty());
    EXPECT_EQ(place().size(), 10U) << "nothing is lost";
}

/// Each page once, whoever comes first.
TEST_F(Placing, RequestsRaceWithPortions) {
    std::array<std::atomic<unsigned>, ram_pages> times{};
    ZeroPlacer racing({{.name = "m", .pages = ram_pages}},
                      [&](std::uint32_t, std::string_view, std::uint64_t page) { ++times[page]; });
    std::thread telling([&] {
        for (std::uint64_t page = 0; page < ram_pages; page += 128)
            ASSERT_TRUE(racing.told(peer::encode({ram_section, "m", {{page, 128}}})));
        racing.told_all();
    });
    std::thread requesting([&] {
        for (std::uint64_t page = 0; page < ram_pages; page += 3) {
            stream::Buffer bytes;
            stream::append_page_request(bytes, "m", page * stream::target_page,
                                        stream::target_page);
            racing.saw_requests(bytes);
        }
    });
    racing.begin();
    std::uint64_t placed = 0;
    while (racing.await_work()) {
        const ZeroPlacer::Portion portion = racing.take();
        placed += portion.pages;
        racing.placed(portion.pages);
    }
    telling.join();
    requesting.join();
    EXPECT_TRUE(racing.await_placed());
    std::uint64_t given_once = 0;
    for (const auto& count : times) {
        EXPECT_LE(count, 1U);
        given_once += count;
    }
    EXPECT_EQ(placed + given_once, ram_pages);
}

}  // namespace
}  // namespace gc::receive
