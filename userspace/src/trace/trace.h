// SPDX-License-Identifier: GPL-2.0-or-later
// An access trace: which pages of a VM were touched, epoch by epoch. docs/trace-format.md has the
// format of its file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gc::trace {

inline constexpr std::array<std::uint8_t, 8> magic{'g', 'c', 't', 'r', 'a', 'c', 'e', '\n'};
inline constexpr std::uint32_t version = 1;
inline constexpr unsigned page_shift = 12;

/// How the accesses were seen; the numbers are those of enum gc_track_mode.
enum class Mode : std::uint8_t {
    order = 1,  ///< the touches of an epoch are in the order in which they happened
    age = 2,    ///< they are in the order of addresses, and have no time of their own
};
std::string_view to_string(Mode mode);

/// The numbers are those of enum gc_kind in the module's UAPI, and those of the file.
enum class AccessKind : std::uint8_t {
    read = 1,
    write = 2,
    exec = 3,
    any = 4,  ///< seen by the accessed bit
};

/// A RAM block of guest memory. Pages are numbered from 0 through all blocks, in 4 KiB.
struct Block {
    std::string name;
    std::uint64_t bytes = 0;
    std::uint64_t page_size = 0;  ///< of the host page behind it, in bytes

    [[nodiscard]] std::uint64_t pages() const { return bytes >> page_shift; }
    bool operator==(const Block&) const = default;
};

/// A page's place in a RAM block.
struct Place {
    std::size_t block = 0;  ///< index in the trace's header
    std::uint64_t page = 0;
    bool operator==(const Place&) const = default;
};

struct Header {
    Mode mode = Mode::order;
    std::uint64_t interval_us = 0;  ///< that was asked for, of one epoch; 0: none was
    std::vector<Block> blocks;

    [[nodiscard]] std::uint64_t pages() const;
    /// Of a page of the numbering through all blocks, which must be less than pages().
    [[nodiscard]] Place place(std::uint64_t page) const;
    bool operator==(const Header&) const = default;
};

/// `count` accesses, each the first of its epoch to one of 2^order pages: to those from `page` on,
/// then to those behind them, and so on.
struct Touch {
    std::uint64_t page = 0;
    std::uint64_t count = 1;
    std::uint64_t time_us = 0;  ///< since the epoch began; 0 with Mode::age
    std::uint32_t vcpu = UINT32_MAX;
    AccessKind kind = AccessKind::read;
    std::uint8_t order = 0;

    [[nodiscard]] std::uint64_t pages() const { return count << order; }
    bool operator==(const Touch&) const = default;
};

struct Epoch {
    std::uint64_t begin_us = 0;  ///< since the recording began
    std::uint64_t length_us = 0;
    std::uint64_t dropped = 0;     ///< accesses that were lost
    std::uint64_t unresolved = 0;  ///< accesses that could not be related to a page
    std::vector<Touch> touches;

    /// Appends a touch, as a part of the last one if it goes on where that one ends.
    void add(const Touch& touch);
    /// The size of the hot set: pages touched.
    [[nodiscard]] std::uint64_t pages() const;
    bool operator==(const Epoch&) const = default;
};

struct Trace {
    Header header;
    std::vector<Epoch> epochs;
};

}  // namespace gc::trace
