// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/reader.h"
#include "trace/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>

namespace gc::trace {
namespace {

using testing::HasSubstr;

Header sample_header() {
    return {
        Mode::order, 250'000, {{"pc.ram", 4096 * 1000, 4096}, {"hot-plugged", 2 << 20, 2 << 20}}};
}

std::vector<Epoch> sample_epochs() {
    Epoch first{.begin_us = 0, .length_us = 250'003, .touches = {}};
    first.touches = {
        {.page = 17, .time_us = 5, .vcpu = 0, .kind = AccessKind::exec},
        {.page = 3, .count = 40, .time_us = 5, .vcpu = 1, .kind = AccessKind::write},
        {.page = 999, .time_us = 250'003, .vcpu = 1, .kind = AccessKind::write},
        {.page = 1000, .time_us = 250'003, .vcpu = 7, .kind = AccessKind::read, .order = 9}};
    Epoch second{
        .begin_us = 250'004, .length_us = 1, .dropped = 3, .unresolved = UINT64_MAX, .touches = {}};
    Epoch third{.begin_us = 300'000, .length_us = 9, .touches = {}};
    third.touches = {{.page = 0, .count = 1512, .kind = AccessKind::any}};
    return {first, second, third};
}

Buffer write(const Header& head, const std::vector<Epoch>& epochs) {
    Buffer bytes;
    append_header(bytes, head);
    for (const Epoch& epoch : epochs)
        append_epoch(bytes, epoch);
    append_end(bytes, epochs.size());
    return bytes;
}

Buffer sample() {
    return write(sample_header(), sample_epochs());
}

/// A file that is valid up to its first block.
Buffer start() {
    Buffer bytes;
    append_header(bytes, {Mode::age, 1, {}});
    bytes.pop_back();
    return bytes;
}

void add(Buffer& to, std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes)
        to.push_back(static_cast<std::byte>(byte));
}

/// One block "m" of four pages.
Buffer small() {
    Buffer bytes;
    append_header(bytes, {Mode::age, 1, {{"m", 4 * 4096, 4096}}});
    return bytes;
}

void expect_refused(const Buffer& bytes, const std::string& message,
                    ErrorKind kind = ErrorKind::protocol) {
    const auto trace = parse(bytes);
    ASSERT_FALSE(trace);
    EXPECT_EQ(trace.error().kind, kind);
    EXPECT_EQ(trace.error().message, message);
}

TEST(Trace, ComesBackAsItWas) {
    const auto trace = parse(sample());
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(trace->header, sample_header());
    EXPECT_EQ(trace->epochs, sample_epochs());
    EXPECT_EQ(trace->epochs[0].pages(), 1U + 40 + 1 + 512);
}

TEST(Trace, NoEpochs) {
    const auto trace = parse(write(sample_header(), {}));
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_TRUE(trace->epochs.empty());
}

TEST(Trace, IsCompact) {
    // A sequential scan is one run; a random one takes a few bytes per touch.
    Epoch epoch{.length_us = 1, .touches = {}};
    epoch.touches = {{.page = 0, .count = 1000, .kind = AccessKind::any}};
    Buffer bytes;
    append_epoch(bytes, epoch);
    EXPECT_LE(bytes.size(), 12U);
}

TEST(Trace, NeighboursBecomeOneRun) {
    Epoch epoch;
    for (const std::uint64_t page : {4, 5, 6, 9})
        epoch.add({.page = page, .kind = AccessKind::any});
    epoch.add({.page = 10, .kind = AccessKind::read});
    epoch.add({.page = 11, .time_us = 1, .kind = AccessKind::read});
    ASSERT_EQ(epoch.touches.size(), 4U);
    EXPECT_EQ(epoch.touches[0].count, 3U);
    EXPECT_EQ(epoch.pages(), 6U);
}

TEST(Trace, AnyCutIsTold) {
    const Buffer whole = sample();
    for (std::size_t length = 0; length < whole.size(); ++length) {
        const auto trace = parse(std::span(whole).first(length));
        ASSERT_FALSE(trace) << length;
        EXPECT_THAT(trace.error().message, HasSubstr("but the file ends")) << length;
    }
}

TEST(Trace, AnyCorruptionIsSurvived) {
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
        Buffer bytes = sample();
        for (auto flips = 1 + random() % 3; flips > 0; --flips)
            bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        const auto trace = parse(bytes);
        if (!trace) {
            EXPECT_THAT(trace.error().message, HasSubstr("offset "));
            continue;
        }
        for (const Epoch& epoch : trace->epochs)
            for (const Touch& touch : epoch.touches)
                ASSERT_LE(touch.page + touch.pages(), trace->header.pages());
    }
}

TEST(TraceGarbage, OtherMagic) {
    Buffer bytes = sample();
    bytes[3] = std::byte{'x'};
    expect_refused(bytes, "offset 0: expected the magic 'gctrace\\n' of an access trace, found "
                          "something else");
}

TEST(TraceGarbage, LaterVersion) {
    Buffer bytes = sample();
    bytes[8] = std::byte{2};
    expect_refused(bytes,
                   "offset 8: expected version 1 of the trace format, found 2; use the gcctl that "
                   "recorded it",
                   ErrorKind::unsupported);
}

TEST(TraceGarbage, UnknownMode) {
    Buffer bytes = sample();
    bytes[12] = std::byte{3};
    expect_refused(bytes, "offset 12: expected mode 1 (order) or 2 (age), found 3");
}

TEST(TraceGarbage, NoBlocks) {
    Buffer bytes = start();
    add(bytes, {0});
    expect_refused(bytes, "offset 17: expected the number of RAM blocks from 1 to 64, found 0");
}

TEST(TraceGarbage, SizeOfABlockIsNoMultipleOfAPage) {
    Buffer bytes = start();
    add(bytes, {1, 1, 'm', 0x81, 0x20});
    expect_refused(bytes,
                   "offset 20: expected a RAM block's size that is a multiple of 4096, found "
                   "4097");
}

TEST(TraceGarbage, NameThatATerminalWouldObey) {
    Buffer bytes = start();
    add(bytes, {1, 1, 0x1b});
    expect_refused(bytes, "offset 19: expected a RAM block's name in printable ASCII");
}

TEST(TraceGarbage, TwoBlocksOfOneName) {
    Buffer bytes;
    append_header(bytes, {Mode::age, 1, {{"m", 4096, 4096}, {"m", 4096, 4096}}});
    expect_refused(bytes, "offset 25: expected RAM blocks with different names, found 'm' twice");
}

TEST(TraceGarbage, PageSizeIsNoPowerOfTwo) {
    Buffer bytes;
    append_header(bytes, {Mode::age, 1, {{"m", 4096, 12288}}});
    expect_refused(bytes, "offset 22: expected a page size that is a power of two, found 12288");
}

TEST(TraceGarbage, UnknownTag) {
    Buffer bytes = small();
    add(bytes, {'e'});
    expect_refused(bytes, "offset 25: expected 'E' (an epoch) or 'Z' (the end), found 0x65");
}

TEST(TraceGarbage, PageBeyondTheMemory) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 0, 0, 0, 1, 8, 2, 0});
    expect_refused(bytes, "offset 31: expected a page below 4, found 4");
}

TEST(TraceGarbage, RunBeyondTheMemory) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 0, 0, 0, 1, 6, 4, 0});
    expect_refused(bytes,
                   "offset 32: expected a run that ends at page 4, found 2 times 1 pages from "
                   "page 3");
}

TEST(TraceGarbage, HugePageBeyondTheMemory) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 0, 0, 0, 1, 0, 3, 4 | 9 << 3, 0, 0});
    expect_refused(bytes, "offset 32: expected a run that ends at page 4, found 1 times 512 pages "
                          "from page 0");
}

TEST(TraceGarbage, UnknownKind) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 0, 0, 0, 1, 0, 3, 5, 0, 0});
    expect_refused(bytes, "offset 33: expected a kind from 1 to 4, found 5");
}

TEST(TraceGarbage, TimeBeyondTheEpoch) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 7, 0, 0, 1, 0, 2, 8});
    expect_refused(bytes, "offset 33: expected a time in us from 0 to 7, found 8");
}

TEST(TraceGarbage, EpochsThatOverlap) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 7, 0, 0, 0, 'E', 6});
    expect_refused(bytes, "offset 32: expected an epoch's begin in us from 7 to 9007199254740992, "
                          "found 6");
}

TEST(TraceGarbage, NumberOfMoreThan64Bits) {
    Buffer bytes = small();
    add(bytes, {'E', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2});
    expect_refused(bytes, "offset 26: expected an epoch's begin in us, found a number of more than "
                          "64 bits");
}

TEST(TraceGarbage, EpochMissing) {
    Buffer bytes = small();
    add(bytes, {'E', 0, 0, 0, 0, 0, 'Z', 2});
    expect_refused(bytes, "offset 32: expected 1 epochs, the number in the trace, found 2");
}

TEST(TraceGarbage, SomethingBehindTheEnd) {
    Buffer bytes = sample();
    const std::size_t end = bytes.size();
    add(bytes, {0});
    expect_refused(bytes,
                   fmt::format("offset {}: expected the end of the file, found 1 more bytes", end));
}

}  // namespace
}  // namespace gc::trace
