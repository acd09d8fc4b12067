// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/fd.h"
#include "util/poll.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace gc::util {
namespace {

using namespace std::chrono_literals;

class Poll : public testing::Test {
  protected:
    void SetUp() override {
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        ours_ = UniqueFd(ends[0]);
        theirs_ = UniqueFd(ends[1]);
    }
    void send() const {
        const std::array<std::byte, 1> byte{};
        ASSERT_TRUE(write_all(theirs_.get(), byte));
    }

    UniqueFd ours_;
    UniqueFd theirs_;
};

TEST_F(Poll, ReportsADeadlineThatPassed) {
    const auto begin = Deadline::Clock::now();
    EXPECT_FALSE(wait_readable(ours_.get(), 20ms).value());
    EXPECT_GE(Deadline::Clock::now() - begin, 20ms);
}

TEST_F(Poll, ReportsReadyDescriptorsAfterTheDeadlineToo) {
    EXPECT_FALSE(wait_readable(ours_.get(), 0ms).value());
    send();
    EXPECT_TRUE(wait_readable(ours_.get(), 0ms).value());
    EXPECT_TRUE(wait_for_events(ours_.get(), POLLOUT, 0ms).value());
}

TEST_F(Poll, ReportsAHangUpWithoutRequestedEvents) {
    theirs_.reset();
    EXPECT_TRUE(wait_for_events(ours_.get(), 0, 0ms).value());
}

TEST_F(Poll, TellsWhichDescriptorIsReady) {
    send();
    std::array<pollfd, 3> waits{
        {{-1, POLLIN, 0}, {ours_.get(), POLLIN, 0}, {theirs_.get(), POLLIN, 0}}};
    EXPECT_TRUE(poll_until(waits, Deadline::never()).value());
    EXPECT_EQ(waits[0].revents, 0);
    EXPECT_EQ(waits[1].revents, POLLIN);
    EXPECT_EQ(waits[2].revents, 0);
}

TEST_F(Poll, ContinuesAfterASignal) {
    struct sigaction ignore {};
    ignore.sa_handler = [](int) {};
    struct sigaction before {};
    ASSERT_EQ(::sigaction(SIGUSR2, &ignore, &before), 0);
    const pthread_t waiting = ::pthread_self();
    std::thread interrupter([&] {
        std::this_thread::sleep_for(20ms);
        ::pthread_kill(waiting, SIGUSR2);
        std::this_thread::sleep_for(20ms);
        send();
    });
    EXPECT_TRUE(wait_readable(ours_.get(), 10s).value());
    interrupter.join();
    ::sigaction(SIGUSR2, &before, nullptr);
}

TEST_F(Poll, ReportsErrorsOfPoll) {
    // More descriptors than the process may have (RLIMIT_NOFILE): EINVAL.
    std::vector<pollfd> waits(2'000'000, pollfd{-1, 0, 0});
    const auto ready = poll_until(waits, 0ms);
    if (ready)
        GTEST_SKIP() << "RLIMIT_NOFILE allows that many";
    EXPECT_EQ(ready.error().error_number, EINVAL);
}

}  // namespace
}  // namespace gc::util
