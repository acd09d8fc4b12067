// SPDX-License-Identifier: GPL-2.0-or-later
// Both ends of a migration's channels, over wires that break.
#include "peer/channels.h"

#include "bad_wire.h"
#include "eventually.h"
#include "peer/control.h"

#include <gmock/gmock.h>
#include <map>
#include <sys/socket.h>
#include <unistd.h>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using enum ChannelId;

constexpr std::array all{control, main, bulk, urgent};

class TwoEnds : public testing::Test {
  protected:
    void SetUp() override {
        far = Channels::create({.end = End::destination, .dial = {}}).value();
        near = Channels::create(
                   {.end = End::source,
                    .dial = [this](auto id, bool resume, auto) { return dial(id, resume); }})
                   .value();
        ASSERT_TRUE(near->open(all, soon));
    }
    void TearDown() override {
        near.reset();
        for (std::thread& thread : there)
            thread.join();
        far.reset();
    }

    Result<Connection> dial(ChannelId id, bool resume) {
        const std::lock_guard lock(mutex);
        ++dials;
        resumes += resume ? 1 : 0;
        if (refusal)
            return Unexpected(*refusal);
        auto wire = std::make_unique<BadWire>(Faults{});
        Connection mine = std::move(wire->ends[0]);
        there.emplace_back([this, id, end = std::move(wire->ends[1])]() mutable {
            if (unknown)
                reject_attach(end);
            else
                (void)far->attach(id, std::move(end), soon);
        });
        wires[id] = std::move(wire);
        return mine;
    }

    void cut(std::span<const ChannelId> ids) {
        const std::lock_guard lock(mutex);
        for (const ChannelId id : ids)
            wires[id]->cut();
    }

    /// The destination notices when it reads, as the threads that read pages do.
    void expect_gone_when_read() {
        std::array<std::byte, 1> byte{};
        std::vector<std::thread> readers;
        for (const ChannelId id : {ChannelId::main, ChannelId::urgent, ChannelId::bulk})
            readers.emplace_back([&, id] { (void)(*far)[id].read_some(byte); });
        EXPECT_TRUE(eventually([&] { return far->gone_for() > 0ms; }));
        far->shut_down();
        for (std::thread& reader : readers)
            reader.join();
    }

    bool carries(ChannelId id) {
        std::array<std::byte, 4> got{};
        const auto text = std::as_bytes(std::span("ping", 4));
        return (*near)[id].write(text) && (*far)[id].read_whole(got).value_or(false) &&
               std::ranges::equal(got, text);
    }

    std::mutex mutex;
    std::map<ChannelId, std::unique_ptr<BadWire>> wires;
    std::optional<Error> refusal;
    std::atomic<bool> unknown = false;
    std::atomic<int> dials = 0, resumes = 0;
    std::vector<std::thread> there;
    std::shared_ptr<Channels> near, far;
};

TEST_F(TwoEnds, ChannelsAreConnectedAgain) {
    EXPECT_EQ(resumes, 0);
    for (int round = 0; round < 3; ++round) {
        cut(all);
        for (const ChannelId id : all)
            EXPECT_TRUE(carries(id)) << name(id);
    }
    EXPECT_EQ(resumes, dials - 4);
    EXPECT_GE(near->losses().count, 12U);
    EXPECT_GT(near->losses().time, 0ms) << "also without update()";
}

int option(Channel& channel, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(channel.socket(), SOL_SOCKET, name, &value, &size), 0);
    return value;
}

TEST_F(TwoEnds, WhatAVmMayWaitForIsUrgent) {
    constexpr int mark = 0x67c0, interactive = 6;  // TC_PRIO_INTERACTIVE
    near->set_mark(mark);
    far->set_mark(mark);
    ASSERT_TRUE(near->open(std::array{ChannelId::mirror, ChannelId::forward}, soon));
    cut(all);
    for (const ChannelId id : all)
        EXPECT_TRUE(carries(id)) << name(id);
    const bool may_mark = ::geteuid() == 0;
    const auto expect = [&](Channels& of, std::initializer_list<ChannelId> urgent_ones) {
        for (const ChannelId id : {control, main, bulk, ChannelId::urgent, mirror, forward}) {
            const bool hurries = std::ranges::find(urgent_ones, id) != urgent_ones.end();
            EXPECT_EQ(option(of[id], SO_PRIORITY), hurries ? interactive : 0) << name(id);
            EXPECT_EQ(option(of[id], SO_MARK), hurries && may_mark ? mark : 0) << name(id);
        }
    };
    expect(*near, {control, urgent});
    expect(*far, {control, main, bulk, urgent});
}

TEST_F(TwoEnds, AnOutageIsOfAllChannelsTogether) {
    using Change = Channels::Change;
    EXPECT_EQ(near->update(), Change::none);
    EXPECT_FALSE(near->outage());
    {
        const std::lock_guard lock(mutex);
        refusal = Error{ErrorKind::io, "down", ENETUNREACH};
    }
    cut(std::array{control, bulk});
    ASSERT_TRUE(eventually([&] { return near->update() == Change::lost; }));
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(near->update(), Change::none);
    EXPECT_GE(near->outage().value(), 50ms);
    EXPECT_EQ(near->gone_for(), 0ms) << "nobody answered";
    EXPECT_EQ(near->cause().message, "down");
    {
        const std::lock_guard lock(mutex);
        refusal.reset();
    }
    ASSERT_TRUE(eventually([&] { return near->update() == Change::back; }));
    EXPECT_GE(near->losses().time, 50ms);
    EXPECT_EQ(near->losses().count, 2U);
    EXPECT_FALSE(near->outage());
}

TEST_F(TwoEnds, ControlMessagesAreKeptWithoutAConnection) {
    Control source((*near)[control], End::source, State::streaming);
    Control destination((*far)[control], End::destination, State::streaming);
    {
        const std::lock_guard lock(mutex);
        refusal = Error{ErrorKind::io, "down", ENETUNREACH};
    }
    cut(std::array{control});
    ASSERT_TRUE(eventually([&] { return !(*near)[control].connected(); }));
    EXPECT_TRUE(source.send(Commit{}));
    EXPECT_FALSE(source.wait_taken(10ms).value());
    {
        const std::lock_guard lock(mutex);
        refusal.reset();
    }
    EXPECT_TRUE(std::holds_alternative<Commit>(**destination.receive(soon)));
    EXPECT_TRUE(source.wait_taken(soon).value());
}

TEST_F(TwoEnds, ARefusalLastsUntilTheHostIsGone) {
    const auto refuse = [this](int number) {
        const std::lock_guard lock(mutex);
        refusal = Error{ErrorKind::io, "no", number};
    };
    refuse(ECONNREFUSED);
    cut(std::array{bulk});
    EXPECT_TRUE(eventually([&] { return near->gone_for() > 100ms; }));
    refuse(ETIMEDOUT);
    EXPECT_TRUE(eventually([&] { return near->gone_for() == 0ms; }));
}

TEST_F(TwoEnds, ASourceThatEndsIsGone) {
    {
        const std::lock_guard lock(mutex);
        refusal = Error{ErrorKind::io, "down", ENETUNREACH};
    }
    cut(std::array{control, main, urgent});
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(far->gone_for(), 0ms) << "one connection is left";
    cut(std::array{bulk});
    expect_gone_when_read();
}

TEST_F(TwoEnds, AChannelThatIsOverDoesNotHideThatTheSourceIsGone) {
    ASSERT_TRUE(near->open(std::array{ChannelId::mirror}, soon));
    Channel& there_too = (*far)[ChannelId::mirror];
    (*near)[ChannelId::mirror].end_reading();
    (*near)[ChannelId::mirror].end_writing();
    there_too.end_reading();
    ASSERT_TRUE(eventually([&] { return there_too.over(); }));
    {
        const std::lock_guard lock(mutex);
        refusal = Error{ErrorKind::io, "down", ENETUNREACH};
    }
    cut(all);
    expect_gone_when_read();
}

TEST_F(TwoEnds, TheOtherEndMayNotKnowTheMigration) {
    unknown = true;
    cut(std::array{bulk});
    EXPECT_TRUE(eventually([&] { return near->unknown_there(); }));
    EXPECT_THAT(near->cause().message, HasSubstr("does not know this migration"));
}

TEST(RawChannels, EachHasOneConnection) {
    const auto channels = Channels::raw(End::source).value();
    auto [ours, theirs] = socket_pair();
    ASSERT_TRUE(channels->attach(main, std::move(ours), soon));
    EXPECT_TRUE(channels->opened(main));
    EXPECT_FALSE(channels->opened(bulk));
    EXPECT_THAT(channels->attach(main, std::move(socket_pair()[0]), soon).error().message,
                HasSubstr("already open"));
    const std::string_view text = "as it is";
    ASSERT_TRUE((*channels)[main].write(std::as_bytes(std::span(text))));
    std::string got(text.size(), ' ');
    ASSERT_TRUE(read_whole(theirs.get(), std::as_writable_bytes(std::span(got))));
    EXPECT_EQ(got, text);
}

}  // namespace
}  // namespace gc::peer
