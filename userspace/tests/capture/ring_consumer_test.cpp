// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/ring_consumer.h"

#include <array>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

namespace gc::capture {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t session_pages = 1000;
constexpr std::size_t entries = 64;

/// The shared memory of a ring, and the module's accesses to it.
struct FakeRing {
    explicit FakeRing(std::uint64_t start = 0) {
        producer.entries = entries;
        producer.record_size = sizeof(gc_record);
        producer.head = start;
        consumer.tail = start;
    }

    void publish(std::uint64_t page, gc_kind kind = GC_KIND_READ) {
        gc_record& slot = records[producer.head % entries];
        slot = gc_record{};
        slot.page = page;
        slot.time_ns = producer.head * 10;
        slot.tid = 7;
        slot.kind = static_cast<std::uint16_t>(kind);
        ++producer.head;
    }

    Result<RingConsumer> attach() {
        return RingConsumer::attach(consumer, producer, records, session_pages);
    }

    gc_ring_consumer consumer{};
    gc_ring_producer producer{};
    std::vector<gc_record> records = std::vector<gc_record>(entries);
};

std::vector<std::uint64_t> pages(std::span<const Record> records) {
    std::vector<std::uint64_t> out;
    for (const Record& record : records)
        out.push_back(record.page);
    return out;
}

TEST(RingConsumer, EmptyRingGivesNothing) {
    FakeRing ring;
    auto consumer = ring.attach();
    ASSERT_TRUE(consumer) << consumer.error().message;
    std::array<Record, 4> into{};
    EXPECT_EQ(consumer->read(into).value(), 0U);
    EXPECT_EQ(ring.consumer.tail, 0U);
}

TEST(RingConsumer, RecordsComeInOrderWithAllTheirFields) {
    FakeRing ring;
    auto consumer = ring.attach();
    ring.publish(5, GC_KIND_READ);
    ring.publish(3, GC_KIND_WRITE);
    ring.publish(999, GC_KIND_EXEC);
    std::array<Record, 8> into{};
    ASSERT_EQ(consumer->read(into).value(), 3U);
    EXPECT_EQ(into[0].page, 5U);
    EXPECT_EQ(into[0].kind, Kind::read);
    EXPECT_EQ(into[1].page, 3U);
    EXPECT_EQ(into[1].kind, Kind::write);
    EXPECT_EQ(into[1].time_ns, 10U);
    EXPECT_EQ(into[1].tid, 7U);
    EXPECT_EQ(into[2].page, 999U);
    EXPECT_EQ(into[2].kind, Kind::exec);
    EXPECT_EQ(ring.consumer.tail, 3U);
}

TEST(RingConsumer, ShortSpanLeavesTheRest) {
    FakeRing ring;
    auto consumer = ring.attach();
    for (std::uint64_t page = 0; page < 5; ++page)
        ring.publish(page);
    std::array<Record, 3> into{};
    ASSERT_EQ(consumer->read(into).value(), 3U);
    EXPECT_EQ(ring.consumer.tail, 3U);
    ASSERT_EQ(consumer->read(into).value(), 2U);
    EXPECT_EQ(pages(std::span(into).first(2)), (std::vector<std::uint64_t>{3, 4}));
    EXPECT_EQ(consumer->read({}).value(), 0U);
}

TEST(RingConsumer, WrapsAroundTheSlots) {
    FakeRing ring;
    auto consumer = ring.attach();
    std::vector<Record> into(entries);
    std::uint64_t next = 0;
    std::uint64_t expected = 0;
    for (int round = 0; round < 20; ++round) {
        for (std::size_t i = 0; i < 37; ++i)
            ring.publish(next++ % session_pages);
        ASSERT_EQ(consumer->read(into).value(), 37U);
        for (std::size_t i = 0; i < 37; ++i)
            ASSERT_EQ(into[i].page, expected++ % session_pages);
    }
}

TEST(RingConsumer, FullRingIsRead) {
    FakeRing ring;
    auto consumer = ring.attach();
    for (std::size_t i = 0; i < entries; ++i)
        ring.publish(i);
    std::vector<Record> into(2 * entries);
    EXPECT_EQ(consumer->read(into).value(), entries);
}

TEST(RingConsumer, CountersMayPassTheirLargestValue) {
    FakeRing ring(UINT64_MAX - 1);
    auto consumer = ring.attach();
    for (std::uint64_t page = 0; page < 4; ++page)
        ring.publish(page);
    std::array<Record, 8> into{};
    ASSERT_EQ(consumer->read(into).value(), 4U);
    EXPECT_EQ(pages(std::span(into).first(4)), (std::vector<std::uint64_t>{0, 1, 2, 3}));
    EXPECT_EQ(ring.consumer.tail, 2U);
}

TEST(RingConsumer, TailInTheSharedPageIsNotTrusted) {
    FakeRing ring;
    auto consumer = ring.attach();
    ring.publish(1);
    ring.consumer.tail = 0xdeadbeef;
    std::array<Record, 2> into{};
    ASSERT_EQ(consumer->read(into).value(), 1U);
    EXPECT_EQ(ring.consumer.tail, 1U);
}

TEST(RingConsumer, KickIsAskedForByTheProducer) {
    FakeRing ring;
    auto consumer = ring.attach();
    EXPECT_FALSE(consumer->kick_wanted());
    ring.producer.kick_wanted = 2;
    EXPECT_TRUE(consumer->kick_wanted());
}

TEST(RingConsumerGarbage, HeadFurtherAheadThanTheRing) {
    FakeRing ring;
    auto consumer = ring.attach();
    ring.producer.head = entries + 1;
    std::array<Record, 2> into{};
    const auto count = consumer->read(into);
    ASSERT_FALSE(count);
    EXPECT_EQ(count.error().kind, ErrorKind::protocol);
    EXPECT_EQ(ring.consumer.tail, 0U);
}

TEST(RingConsumerGarbage, HeadBehindTheTail) {
    FakeRing ring(10);
    auto consumer = ring.attach();
    ring.producer.head = 9;
    std::array<Record, 2> into{};
    ASSERT_FALSE(consumer->read(into));
}

TEST(RingConsumerGarbage, PageBeyondTheSession) {
    FakeRing ring;
    auto consumer = ring.attach();
    ring.publish(0);
    ring.publish(session_pages);
    std::array<Record, 2> into{};
    const auto count = consumer->read(into);
    ASSERT_FALSE(count);
    EXPECT_EQ(count.error().kind, ErrorKind::protocol);
    EXPECT_THAT(count.error().message, HasSubstr("page 1000"));
    EXPECT_EQ(ring.consumer.tail, 0U);
}

TEST(RingConsumer, HugePageOfATrack) {
    FakeRing ring;
    auto consumer = ring.attach();
    ring.publish(512, GC_KIND_ANY);
    ring.records[0].order = 8;
    ring.records[0].vcpu = 3;
    std::array<Record, 2> into{};
    ASSERT_EQ(consumer->read(into).value(), 1U);
    EXPECT_EQ(into[0].kind, Kind::any);
    EXPECT_EQ(into[0].order, 8);
    EXPECT_EQ(into[0].vcpu, 3U);
}

TEST(RingConsumerGarbage, HugePageBeyondTheTrack) {
    for (const std::uint16_t order : {std::uint16_t{9}, std::uint16_t{63}, std::uint16_t{64}}) {
        FakeRing ring;
        auto consumer = ring.attach();
        ring.publish(512);
        ring.records[0].order = order;
        std::array<Record, 2> into{};
        EXPECT_FALSE(consumer->read(into)) << order;
    }
}

TEST(RingConsumerGarbage, UnknownKind) {
    for (const std::uint16_t kind : {std::uint16_t{0}, std::uint16_t{5}, std::uint16_t{0xffff}}) {
        FakeRing ring;
        auto consumer = ring.attach();
        ring.publish(0);
        ring.records[0].kind = kind;
        std::array<Record, 2> into{};
        EXPECT_FALSE(consumer->read(into)) << kind;
    }
}

TEST(RingConsumerGarbage, OtherRecordSize) {
    FakeRing ring;
    ring.producer.record_size = 64;
    const auto consumer = ring.attach();
    ASSERT_FALSE(consumer);
    EXPECT_EQ(consumer.error().kind, ErrorKind::protocol);
    EXPECT_THAT(consumer.error().message, HasSubstr("64"));
}

TEST(RingConsumerGarbage, OtherCapacity) {
    for (const std::uint32_t said : {0U, 32U, 65U, 128U, UINT32_MAX}) {
        FakeRing ring;
        ring.producer.entries = said;
        EXPECT_FALSE(ring.attach()) << said;
    }
}

}  // namespace
}  // namespace gc::capture
