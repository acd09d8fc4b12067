// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/bulk_window.h"

#include <gtest/gtest.h>

namespace gc::transfer {
namespace {

using namespace std::chrono_literals;

/// A path with a single queue: each frame is taken a fixed time after the previous one, and not
/// before a round trip has passed.
struct Path {
    BulkWindow::Clock::duration round_trip;
    BulkWindow::Clock::duration per_page;
    BulkWindow::Clock::time_point now{1h};
    BulkWindow::Clock::time_point last_taken{1h};
    std::deque<BulkWindow::Clock::time_point> answers;

    void run(BulkWindow& window, std::uint64_t pages_of_frame, int frames) {
        while (frames > 0) {
            if (window.open()) {
                window.sent(pages_of_frame, now);
                last_taken = std::max(last_taken, now + round_trip) + per_page * pages_of_frame;
                answers.push_back(last_taken);
                --frames;
            } else {
                ASSERT_FALSE(answers.empty()) << "the window must not close forever";
                now = std::max(now, answers.front());
                answers.pop_front();
                window.acknowledged(now);
            }
        }
    }
};

/// Pages that the destination takes in queue_time.
double share_of_queue_time(const BulkWindow& window, const Path& path) {
    const auto takes = path.per_page * static_cast<std::int64_t>(window.limit());
    return static_cast<double>(takes.count()) /
           static_cast<double>((path.round_trip + BulkWindow::queue_time).count());
}

TEST(BulkWindow, HoldsAboutAQueueTimeOfPagesWhateverTheirCost) {
    for (const auto per_page : {2us, 20us, 100us}) {
        BulkWindow window;
        Path path{.round_trip = 200us, .per_page = per_page, .answers = {}};
        path.run(window, 16, 20000);
        EXPECT_LT(share_of_queue_time(window, path), 2) << per_page.count();
        EXPECT_GT(share_of_queue_time(window, path), 0.5) << per_page.count();
    }
}

TEST(BulkWindow, AFasterDestinationIsFoundOut) {
    BulkWindow window;
    Path path{.round_trip = 100us, .per_page = 100us, .answers = {}};
    path.run(window, 16, 2000);
    const std::uint64_t before = window.limit();
    path.per_page = 5us;
    path.run(window, 16, 20000);
    EXPECT_GT(window.limit(), 5 * before);
}

TEST(BulkWindow, ASlowerDestinationClosesIt) {
    BulkWindow window;
    Path path{.round_trip = 100us, .per_page = 5us, .answers = {}};
    path.run(window, 16, 20000);
    const std::uint64_t before = window.limit();
    path.per_page = 100us;
    path.run(window, 16, 2000);
    EXPECT_LT(window.limit(), before / 4);
}

TEST(BulkWindow, ALongPathIsKeptFull) {
    BulkWindow window;
    Path path{.round_trip = 50ms, .per_page = 10us, .answers = {}};
    path.run(window, 16, 50000);
    EXPECT_GT(window.limit(), 5000U) << "a round trip's worth of pages";
}

TEST(BulkWindow, AQueueOfOthersDoesNotCloseIt) {
    // Others queue 50 ms and leave a third of the path.
    BulkWindow window;
    Path path{.round_trip = 200us, .per_page = 100us, .answers = {}};
    path.run(window, 16, 5000);
    path.round_trip = 50ms;
    path.per_page = 300us;
    path.run(window, 16, 5000);
    EXPECT_GT(window.limit(), 150U) << "a round trip's worth of pages";
    path.round_trip = 200us;
    path.per_page = 100us;
    path.run(window, 16, 5000);
    EXPECT_LT(share_of_queue_time(window, path), 2) << "the queue of others does not count as ours";
}

TEST(BulkWindow, ItsOwnQueueIsNotTakenForThePath) {
    BulkWindow window;
    Path path{.round_trip = 1ms, .per_page = 100us, .answers = {}};
    const auto end = path.now + 20 * BulkWindow::memory;
    while (path.now < end) {
        path.run(window, window.piece(), 100);
        ASSERT_LT(share_of_queue_time(window, path), 2);
    }
}

TEST(BulkWindow, AnswersThatComeTogetherAreNoFastPath) {
    BulkWindow window;
    BulkWindow::Clock::time_point now{1h};
    // 10 pages in 10 ms, all acknowledged at once; then the next ones are sent, and so on.
    for (int i = 0; i < 1000; ++i) {
        for (int frame = 0; frame < 10; ++frame)
            window.sent(1, now);
        now += 10ms;
        for (int frame = 0; frame < 10; ++frame)
            window.acknowledged(now);
    }
    EXPECT_LT(window.limit(), 30U);
    EXPECT_GE(window.limit(), 20U);
}

TEST(BulkWindow, AFewPagesOfZerosDoNotOpenItForLong) {
    // A slow link: a data page takes 3 ms, a zero page nothing.
    BulkWindow window;
    Path path{.round_trip = 5ms, .per_page = 3ms, .answers = {}};
    path.run(window, 1, 200);
    const std::uint64_t before = window.limit();
    path.per_page = 1us;
    path.run(window, 4, 8);
    path.per_page = 3ms;
    path.run(window, window.piece(), 40);
    EXPECT_LE(window.limit(), before + 1);
}

TEST(BulkWindow, NeverClosesBelowItsLeast) {
    BulkWindow window;
    Path path{.round_trip = 1ms, .per_page = 10ms, .answers = {}};
    path.run(window, 1, 200);
    EXPECT_EQ(window.limit(), BulkWindow::min_limit);
    EXPECT_EQ(window.piece(), 1U);
}

TEST(BulkWindow, AnAnswerTooManyDoesNoHarm) {
    BulkWindow window;
    window.acknowledged(BulkWindow::Clock::now());
    EXPECT_TRUE(window.open());
    EXPECT_EQ(window.limit(), BulkWindow::start_limit);
}

}  // namespace
}  // namespace gc::transfer
