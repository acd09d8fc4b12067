// SPDX-License-Identifier: GPL-2.0-or-later
// Streams with changed bytes, for a codec built with AddressSanitizer and UBSan. Whatever the
// input, the reader must terminate, with or without an error, and stay within its own memory.
#include "recordings.h"
#include "samples.h"
#include "stream/package.h"
#include "stream/return_path.h"

#include <array>
#include <gtest/gtest.h>
#include <random>

namespace gc::stream {
namespace {

std::uint64_t sum_of(std::span<const std::byte> bytes) {
    std::uint64_t sum = 0;
    for (const std::byte byte : bytes)
        sum += std::to_integer<std::uint8_t>(byte);
    return sum;
}

/// The final position of a reader that uses next_run() where possible.
std::uint64_t end_by_runs(std::span<const std::byte> input, Start start) {
    for (Reader reader(start);;) {
        while (reader.next_run(input)) {
        }
        const auto item = reader.next(input);
        if (!item || !*item)
            return reader.position();
    }
}

/// Reads to the end or the first error, and accesses all bytes of the items.
std::uint64_t read(std::span<const std::byte> input, Start start) {
    const std::uint64_t end = end_by_runs(input, start);
    Reader reader(start);
    std::uint64_t sum = 0;
    Buffer again;
    for (;;) {
        const auto item = reader.next(input);
        if (!item || !*item) {
            EXPECT_EQ(reader.position(), end);
            return sum;
        }
        again.clear();
        samples::encode(again, **item);
        sum += sum_of(again);
        if (const auto* package = std::get_if<Package>(&**item))
            if (const auto parts = split_package(package->body))
                sum += sum_of(parts->devices);
        if (const auto* command = std::get_if<Command>(&**item)) {
            sum += parse_ping(command->payload).has_value();
            sum += parse_discard(command->payload).has_value();
        }
    }
}

std::uint64_t read_return(std::span<const std::byte> input) {
    std::uint64_t count = 0;
    for (ReturnPathReader reader;; ++count) {
        const auto message = reader.next(input);
        if (!message || !*message)
            return count;
    }
}

/// A copy in memory that ends with the last byte.
std::vector<std::byte> copy(std::span<const std::byte> bytes) {
    return {bytes.begin(), bytes.end()};
}

constexpr std::array<std::uint8_t, 7> changes{0x01, 0x02, 0x08, 0x20, 0x40, 0x80, 0xff};

TEST(Mutation, OfEachByteOfASmallStream) {
    const Buffer stream = samples::postcopy();
    for (std::size_t at = 0; at < stream.size(); ++at) {
        for (const std::uint8_t change : changes) {
            Buffer changed = stream;
            changed[at] ^= static_cast<std::byte>(change);
            read(changed, Start::header);
        }
        if (stream[at] == stream[at + 1 == stream.size() ? 0 : at + 1])
            at += 7;  // the bytes within a page are equivalent
    }
}

TEST(Mutation, OfTheLengthOfASmallStream) {
    const Buffer stream = samples::postcopy();
    for (std::size_t length = 0; length < stream.size(); ++length)
        read(copy(std::span(stream).first(length)), Start::header);
}

TEST(Mutation, OfSmallStreamsReadFromTheWrongPlace) {
    const Buffer stream = samples::postcopy();
    for (std::size_t from = 0; from < stream.size(); ++from)
        for (const Start start : {Start::entry, Start::records})
            read(copy(std::span(stream).subspan(from)), start);
}

TEST(Mutation, OfRecordings) {
    std::minstd_rand random(20221214);  // NOLINT: the same numbers every time
    for (const std::string& name : recordings()) {
        const Buffer stream = recorded(name, "stream");
        for (int round = 0; round < 24; ++round) {
            Buffer changed = stream;
            // Half of them before the first pages, where nearly all bytes matter.
            const std::size_t within =
                round % 2 ? std::min<std::size_t>(stream.size(), 1024) : stream.size();
            for (int i = 0; i <= round % 3; ++i)
                changed[random() % within] = static_cast<std::byte>(random());
            changed.erase(changed.end() - static_cast<std::ptrdiff_t>(random() % 16),
                          changed.end());
            read(changed, Start::header);
        }
    }
}

TEST(Mutation, OfReturnPathsAndUrgentChannels) {
    std::minstd_rand random(20250423);  // NOLINT: the same numbers every time
    for (const std::string& name : recordings()) {
        for (const std::string_view channel : {"return", "urgent"}) {
            const Buffer bytes = recorded(name, channel);
            for (std::size_t at = 0; at < std::min<std::size_t>(bytes.size(), 512); ++at) {
                Buffer changed = bytes;
                changed[at] = static_cast<std::byte>(random());
                channel == "return" ? read_return(changed) : read(changed, Start::records);
            }
        }
    }
}

}  // namespace
}  // namespace gc::stream
