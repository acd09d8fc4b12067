// SPDX-License-Identifier: GPL-2.0-or-later
// Which part of the source's stream is relayed, whatever the pieces in which it arrives. Before
// switch-over: all bytes in order, except what the destination must not see. After it: the pages
// that are needed from the source.
#include "transfer/stream_relay.h"

#include "../stream/samples.h"
#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <thread>

namespace gc::transfer {
namespace {

namespace samples = stream::samples;
using namespace std::chrono_literals;
using stream::Buffer;
using stream::CommandCode;
using stream::Tag;

constexpr std::size_t in_one = SIZE_MAX;

UniqueFd pair(UniqueFd& other) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    other.reset(ends[1]);
    return UniqueFd(ends[0]);
}

/// The bytes of all frames of a channel, and the frames' heads.
struct Frames {
    Buffer bytes;
    std::vector<peer::FrameHead> heads;
};

Frames read_frames(int fd) {
    Frames all;
    for (std::array<std::byte, peer::frame_head_size> head;;) {
        const auto more = read_whole(fd, head);
        if (!more || !*more)
            return all;
        all.heads.push_back(peer::decode(head).value());
        Buffer frame(all.heads.back().size);
        EXPECT_TRUE(read_whole(fd, frame).value_or(false));
        stream::append(all.bytes, frame);
    }
}

/// A relay between a source QEMU (`qemu`) and the channel `main`.
class OneRelay : public testing::Test {
  protected:
    /// @param guide_wait as of StreamRelay
    explicit OneRelay(std::chrono::milliseconds guide_wait = 0ms)
        : source(pair(qemu)), channel(peer::Channel::raw(pair(main)).value()),
          sender({.main = channel.get()}, Marks{}, 0, full),
          relay(
              source, preempt, sender, image, asked, kept, origin, notices,
              [this] { switched_over.signal(); }, wake,
              [this](const auto& blocks, std::uint32_t section) {
                  return on_blocks(blocks, section);
              },
              guide_wait) {}

    Result<ledger::Ledger*> on_blocks(const stream::RamBlockList& blocks, std::uint32_t section) {
        std::vector<ledger::Ledger::Block> wanted;
        for (const auto& block : blocks.blocks)
            wanted.push_back({std::string(block.name), block.length / page_size});
        std::vector<std::size_t> no_image(wanted.size(), image::SourceImage::none);
        ledger.emplace(std::move(wanted));
        sender.begin(*ledger, image, std::move(no_image), section);
        return &*ledger;
    }

    /// Relays the input of a source that then closes the socket.
    Result<void> relay_to_the_end(const Buffer& input) {
        std::thread reading([&] { read_frames(main.get()); });
        EXPECT_TRUE(write_all(qemu.get(), input));
        qemu.reset();
        Result<void> ended = relay.run();
        sender.shut_down();
        reading.join();
        return ended;
    }

    UniqueFd qemu, main;
    SourceSocket source;
    UniqueFd preempt_qemu;  ///< connects when `connecting` is signalled
    UniqueFd preempt_end = pair(preempt_qemu);
    Waker connecting = Waker::create().value();
    PreemptChannel preempt{
        {connecting.fd(), [this]() -> Result<UniqueFd> { return std::move(preempt_end); }}};
    Waker full = Waker::create().value();
    std::unique_ptr<peer::Channel> channel;
    PageSender sender;
    image::SourceImage image = image::SourceImage::open({}).value();
    Waker wake = Waker::create().value();
    AskedPages asked{wake};
    KeptPages kept;
    GuideMatch match;
    GuideOrigin origin{kept, source, match, wake};
    Notices notices{Waker::create().value()};
    std::optional<ledger::Ledger> ledger;
    Waker switched_over = Waker::create().value();
    StreamRelay relay;
};

class Relaying : public OneRelay, public testing::WithParamInterface<std::size_t> {
  protected:
    /// Sends the input in pieces of GetParam() bytes and closes the socket. @return what was
    /// relayed
    Buffer relay_all(const Buffer& input) {
        Frames frames;
        std::thread reading([&] { frames = read_frames(main.get()); });
        std::thread writing([&] {
            for (std::span<const std::byte> rest = input; !rest.empty();) {
                const auto piece = rest.first(std::min(rest.size(), GetParam()));
                EXPECT_TRUE(write_all(qemu.get(), piece));
                rest = rest.subspan(piece.size());
            }
            qemu.reset();
        });
        const auto ended = relay.run();
        EXPECT_FALSE(ended);
        EXPECT_EQ(ended.error().message, "the source QEMU closed its migration stream");
        sender.shut_down();
        writing.join();
        reading.join();
        return frames.bytes;
    }
};

/// Two sections with consecutive pages, consecutive zeros, and scattered pages.
Buffer pages() {
    Buffer out = samples::concat({samples::section(Tag::section_part, samples::ram_id, "", 0),
                                  samples::page("pc.ram", 2, 2)});
    for (const std::uint8_t number : std::to_array<std::uint8_t>({3, 4, 5, 9, 10}))
        stream::append(out, samples::page("", number, number));
    for (const std::uint8_t number : std::to_array<std::uint8_t>({11, 12}))
        stream::append(out, samples::zero("", number));
    stream::append(out, samples::concat({samples::page("rom", 0, 1), samples::page("", 1, 1),
                                         samples::ram_rests()}));
    return out;
}

TEST_P(Relaying, PassesAllOnButWhatTheDestinationMustNotSee) {
    const Buffer begin = samples::concat({samples::ram_begins(), samples::ram_rests(), pages()});
    const Buffer after =
        samples::concat({samples::section(Tag::section_part, samples::ram_id, "", 0),
                         samples::zero("pc.ram", 15), samples::zero("", 15), samples::ram_rests()});
    const std::array<Buffer, 2> subsections{
        samples::capabilities({"postcopy-ram"}),
        samples::subsection("configuration/target-page-bits", 1, samples::bytes({0, 0, 0, 12}))};
    const std::array<std::span<const std::byte>, 2> both{subsections[0], subsections[1]};
    Buffer sent = samples::header();
    stream::append_configuration(sent, samples::machine, both);
    Buffer expected = samples::header();
    stream::append_configuration(expected, samples::machine, std::span(both).last(1));
    stream::append(
        sent, samples::concat({begin, samples::command(CommandCode::switchover_start), after}));
    stream::append(expected, samples::concat({begin, after}));

    EXPECT_EQ(relay_all(sent), expected);
    ASSERT_TRUE(ledger);
    EXPECT_EQ(ledger->delivered(ledger::PageClass::precopy), 11U);
    for (const std::uint64_t page : {2, 3, 4, 5, 9, 10, 11, 12, 15})
        EXPECT_TRUE(ledger->has(0, page)) << page;
    EXPECT_EQ(ledger->missing(1), 0U);
    EXPECT_EQ(relay.precopy_zeros(), 4U) << "counted each time one was sent";
    // Head and content of each page; a named record also has the name and its length byte.
    EXPECT_EQ(relay.precopy_bytes(),
              8 * (8 + page_size) + std::uint64_t{4} * 9 + std::uint64_t{2} * 7 + 4);
}

INSTANTIATE_TEST_SUITE_P(In, Relaying, testing::Values(1, 100, 4103, in_one), [](const auto& of) {
    return of.param == in_one ? std::string("One") : "PiecesOf" + std::to_string(of.param);
});

TEST_F(OneRelay, EndsWithASourceThatHasNotReadAllThatItWasTold) {
    const Buffer pong(8);
    EXPECT_TRUE(source.write_unless_ended(pong));
    const auto ended = relay_to_the_end(samples::concat(
        {samples::until_ram(), samples::ram_rests(),
         samples::section(Tag::section_end, samples::ram_id, "", 0), samples::ram_rests(),
         samples::section(Tag::section_full, 7, "timer", 2)}));
    EXPECT_TRUE(ended) << ended.error().message;
    EXPECT_TRUE(source.write_unless_ended(pong)) << "pre-copy has sent everything";
    const auto needed = source.write(pong);
    ASSERT_FALSE(needed);
    EXPECT_EQ(needed.error().message, "the source QEMU's migration socket: write: Broken pipe");
}

TEST_F(OneRelay, SaysThatASourceHasEnded) {
    EXPECT_TRUE(source.write(Buffer(8)));
    const auto ended = relay_to_the_end(samples::until_ram());
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().message, "the source QEMU closed its migration stream");
}

TEST_F(OneRelay, TakesFromThePreemptChannelWhatItHasAskedFor) {
    std::thread reading([&] { read_frames(main.get()); });
    Result<void> ended = fail(ErrorKind::io, "still in flight");
    std::thread relaying([&] { ended = relay.run(); });
    Buffer until_switch_over = samples::concat({samples::until_ram(), samples::ram_rests()});
    stream::append_package(until_switch_over, samples::package({3}));
    // QEMU connects before it sends its package.
    connecting.signal();
    EXPECT_TRUE(write_all(qemu.get(), until_switch_over));
    EXPECT_TRUE(wait_readable(switched_over.fd(), 1s).value());
    relay.fetch_rest();
    EXPECT_TRUE(wait_readable(qemu.get(), 1s).value()) << "nothing was requested from the source";

    Buffer requested = samples::page("pc.ram", 0, 1);
    for (std::uint64_t page = 1; page < 16; ++page)
        stream::append(requested, samples::zero("", page));
    stream::append(requested, samples::concat({samples::page("rom", 1, 2), samples::page("", 0, 3),
                                               samples::record(stream::ram_eos)}));
    // In two pieces, of which one ends within a page.
    const auto first = std::span<const std::byte>(requested).first(2000);
    EXPECT_TRUE(write_all(preempt_qemu.get(), first));
    EXPECT_TRUE(write_all(preempt_qemu.get(), std::span<const std::byte>(requested).subspan(2000)));
    relay.send_rest();
    relaying.join();
    EXPECT_TRUE(ended) << ended.error().message;
    EXPECT_TRUE(ledger->full());
    EXPECT_EQ(source.unread(), 0U);
    sender.shut_down();
    reading.join();
}

Buffer part(std::initializer_list<Buffer> pages) {
    return samples::concat({samples::section(Tag::section_part, samples::ram_id, "", 0),
                            samples::concat(pages), samples::ram_rests()});
}

TEST_F(OneRelay, TakesOnlyWhatIsAskedForUntilTheVmRuns) {
    constexpr std::size_t rom = 1;
    std::thread reading([&] { read_frames(main.get()); });
    Result<void> ended = fail(ErrorKind::io, "still in flight");
    std::thread relaying([&] { ended = relay.run(); });
    const auto send = [&](const Buffer& bytes) { EXPECT_TRUE(write_all(qemu.get(), bytes)); };
    const auto until = [](const auto& holds) {
        for (int i = 0; i < 1000 && !holds(); ++i)
            std::this_thread::sleep_for(1ms);
        EXPECT_TRUE(holds());
    };
    Buffer until_switch_over = samples::concat({samples::until_ram(), samples::ram_rests()});
    stream::append_package(until_switch_over, samples::package({3}));
    send(until_switch_over);
    EXPECT_TRUE(wait_readable(switched_over.fd(), 1s).value());

    // Pages that the source sends without a request.
    const Buffer sweep = part({samples::page("pc.ram", 0, 1), samples::page("rom", 1, 1)});
    send(sweep);
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(source.unread(), sweep.size());
    asked.add({rom, 1});
    until([&] { return ledger->has(rom, 1); });
    until([&] { return source.unread() == 0; });
    EXPECT_EQ(ledger->delivered(ledger::PageClass::urgent), 1U);
    send(sweep);
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(source.unread(), sweep.size()) << "nothing is needed any more";

    // The VM runs: the rest is fetched, and kept until the image is sent.
    relay.fetch_rest();
    EXPECT_TRUE(wait_readable(qemu.get(), 1s).value())
        << "the rest was not requested from the source";
    until([&] { return source.unread() == 0; });
    Buffer rest = samples::section(Tag::section_part, samples::ram_id, "", 0);
    for (std::uint64_t page = 1; page < 16; ++page)
        stream::append(rest, samples::zero("pc.ram", page));
    stream::append(rest, samples::concat({samples::zero("rom", 0), samples::ram_rests()}));
    send(rest);
    until([&] { return kept.has({0, 15}) && kept.has({rom, 0}); });
    EXPECT_FALSE(ledger->has(rom, 0));
    // From here on the source may die; what is requested is sent at once.
    qemu.reset();
    asked.add({0, 15});
    until([&] { return ledger->has(0, 15); });
    EXPECT_EQ(ledger->delivered(ledger::PageClass::urgent), 2U);
    relay.send_rest();
    until([&] { return ledger->full(); });
    relaying.join();
    EXPECT_TRUE(ended) << ended.error().message;
    sender.shut_down();
    reading.join();
}

TEST_F(OneRelay, KeepsForTheGuideWhatTheImageDoesNotHave) {
    constexpr std::size_t rom = 1;
    std::thread reading([&] { read_frames(main.get()); });
    origin.expect_requests();
    std::thread relaying([&] { (void)relay.run(); });
    const stream::PageRange second{1, 1};
    Buffer before = samples::concat({samples::until_ram(), samples::ram_rests(),
                                     part({samples::page("rom", 0, 5), samples::page("", 1, 6)}),
                                     part({samples::zero("pc.ram", 3), samples::zero("", 4)})});
    stream::append_discard(before, "rom", std::span(&second, 1));
    stream::append_package(before, samples::package({3}));
    EXPECT_TRUE(write_all(qemu.get(), before));
    EXPECT_TRUE(wait_readable(switched_over.fd(), 1s).value());

    using Found = capture::PageOrigin::Found;
    Buffer page(page_size);
    EXPECT_EQ(origin.find(rom, 0, page).value(), Found::data);
    EXPECT_EQ(page.back(), std::byte{5});
    EXPECT_EQ(origin.find(0, 4, page).value(), Found::zero);
    EXPECT_TRUE(origin.delivered(rom, 0));
    EXPECT_FALSE(origin.delivered(rom, 1));
    EXPECT_EQ(origin.find(rom, 1, page).value(), Found::later) << "it was discarded";
    EXPECT_EQ(origin.find(rom, 1, page).value(), Found::later);
    Buffer request;
    stream::append_page_request(request, "rom", page_size, page_size);
    Buffer requested(request.size());
    EXPECT_TRUE(read_whole(qemu.get(), requested).value());
    EXPECT_EQ(requested, request) << "it is requested once";
    EXPECT_FALSE(wait_readable(qemu.get(), 20ms).value());
    EXPECT_TRUE(write_all(qemu.get(), part({samples::page("rom", 1, 7)})));
    for (int i = 0; i < 1000 && !kept.has({rom, 1}); ++i)
        std::this_thread::sleep_for(1ms);
    EXPECT_EQ(origin.find(rom, 1, page).value(), Found::data);
    EXPECT_EQ(page.back(), std::byte{7});
    EXPECT_FALSE(origin.wants());
    relay.stop();
    relaying.join();
    sender.shut_down();
    reading.join();
}

/// A source that has switched over, with a guide.
template <int wait_ms> class Waiting : public OneRelay {
  protected:
    Waiting() : OneRelay(std::chrono::milliseconds(wait_ms)) {}

    void SetUp() override {
        stream::append_package(sent, samples::package({3}));
        reading = std::thread([this] { frames = read_frames(main.get()); });
        relaying = std::thread([this] { EXPECT_TRUE(relay.run()); });
        EXPECT_TRUE(write_all(qemu.get(), sent));
    }
    void TearDown() override { end(); }

    void end() {
        if (!relaying.joinable())
            return;
        relay.stop();
        relaying.join();
        sender.shut_down();
        reading.join();
    }

    /// Checks that main ended with a frame of this kind, and with `sent` less its last `missing`
    /// bytes.
    void expect_end(peer::FrameKind kind, std::size_t missing) {
        end();
        ASSERT_FALSE(frames.heads.empty());
        EXPECT_EQ(frames.heads.back().kind, kind);
        constexpr std::size_t some = 16;
        ASSERT_GE(frames.bytes.size(), some);
        EXPECT_TRUE(std::ranges::equal(std::span(frames.bytes).last(some),
                                       std::span(sent).first(sent.size() - missing).last(some)));
    }

    Buffer sent = samples::concat({samples::until_ram(), samples::ram_rests()});
    Frames frames;
    std::thread reading, relaying;
};

using WaitingLong = Waiting<60'000>;
TEST_F(WaitingLong, TheStateIsWholeWhenTheGuideRuns) {
    EXPECT_FALSE(wait_readable(switched_over.fd(), 50ms).value());
    relay.release_state();
    EXPECT_TRUE(wait_readable(switched_over.fd(), 1s).value());
    EXPECT_GE(relay.state_waited(), 40ms);
    expect_end(peer::FrameKind::sections, 0);
}

TEST_F(WaitingLong, AllButItsLastByteIsThereBefore) {
    EXPECT_FALSE(wait_readable(switched_over.fd(), 50ms).value());
    expect_end(peer::FrameKind::stream, 1);
}

using WaitingBriefly = Waiting<30>;
TEST_F(WaitingBriefly, TheStateDoesNotWaitForEver) {
    EXPECT_TRUE(wait_readable(switched_over.fd(), 1s).value());
    EXPECT_GE(relay.state_waited(), 30ms);
    expect_end(peer::FrameKind::sections, 0);
}

TEST(Gather, MakesOnePieceOfWhatStandsTogether) {
    const Buffer read(100), other(10);
    Gather gather;
    gather.refer(std::span(read).first(40));
    gather.refer(std::span(read).subspan(40, 20));
    gather.refer({});
    gather.refer(std::span(read).subspan(70));  // ten bytes are dropped
    gather.own(Buffer(5, std::byte{7}));
    gather.own(Buffer(6, std::byte{8}));
    gather.refer(other);
    ASSERT_EQ(gather.parts().size(), 5U);
    EXPECT_EQ(gather.parts()[0].iov_len, 60U);
    EXPECT_EQ(gather.parts()[1].iov_base, read.data() + 70);
    EXPECT_EQ(*static_cast<const std::byte*>(gather.parts()[2].iov_base), std::byte{7});
    EXPECT_EQ(gather.size(), 111U);
    gather.clear();
    EXPECT_TRUE(gather.empty());
}

TEST(PageSender, HoldsWhatItRelaysWithoutACopy) {
    peer::Channel::Options options;
    options.max_unsent = 1 << 20;  // there is no connection
    const auto channel = peer::Channel::create(std::move(options)).value();
    const Waker full = Waker::create().value();
    PageSender sender({.main = channel.get()}, Marks{}, 0, full);
    const auto read = std::make_shared<Buffer>(100'000);
    Gather gather;
    gather.refer(*read);
    gather.own(Buffer(10));
    gather.lend({*read, read});
    EXPECT_TRUE(sender.relay(gather));
    gather.clear();
    EXPECT_EQ(read.use_count(), 3) << "one for each record";
    EXPECT_EQ(channel->copied(), peer::frame_head_size + 100'010);
}

TEST(Outlet, FramesPartsOfAnySize) {
    UniqueFd other;
    const auto channel = peer::Channel::raw(pair(other)).value();
    Outlet outlet(channel.get(), Marks{});
    Buffer large(2 * peer::max_frame + 10);
    for (std::size_t at = 0; at < large.size(); at += 1000)
        large[at] = static_cast<std::byte>(at / 1000);
    const Buffer small(6, std::byte{9});
    Gather gather;
    gather.refer(small);
    gather.refer(large);
    gather.refer(small);
    Frames frames;
    std::thread reading([&] { frames = read_frames(other.get()); });
    EXPECT_TRUE(
        outlet.write_framed(ledger::PageClass::precopy, peer::FrameKind::sections, gather.parts()));
    outlet.end();
    reading.join();
    EXPECT_EQ(frames.heads,
              (std::vector<peer::FrameHead>{{peer::FrameKind::stream, peer::max_frame},
                                            {peer::FrameKind::stream, peer::max_frame},
                                            {peer::FrameKind::sections, 22}}));
    EXPECT_EQ(frames.bytes, samples::concat({small, large, small}));
}

}  // namespace
}  // namespace gc::transfer
