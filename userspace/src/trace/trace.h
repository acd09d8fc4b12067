// SPDX-License-Identifier: GPL-2.0-or-later
// An access trace: the pages of a VM that were touched, epoch by epoch.
// docs/reference/trace-format.md describes the file format.
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

/// How accesses were observed. The values are those of enum gc_track_mode.
enum class Mode : std::uint8_t {
    order = 1,  ///< touches are in the order in which they happened
    age = 2,    ///< touches are in address order and have no time of their own
};
std::string_view to_string(Mode mode);

/// The values are those of enum gc_kind in the module's UAPI, and those of the file format.
enum class AccessKind : std::uint8_t {
    read = 1,
    write = 2,
    exec = 3,
    any = 4,  ///< observed by the accessed bit
};

/// A RAM block of guest memory. Pages of 4 KiB are numbered from 0 across all blocks.
struct Block {
    std::string name;
    std::uint64_t bytes = 0;
    std::uint64_t page_size = 0;  ///< bytes, of the host page behind it

    [[nodiscard]] std::uint64_t pages() const { return bytes >> page_shift; }
    bool operator==(const Block&) const = default;
};

/// The position of a page in a RAM block.
struct Place {
    std::size_t block = 0;  ///< index in the trace's header
    std::uint64_t page = 0;
    bool operator==(const Place&) const = default;
};

struct Header {
    Mode mode = Mode::order;
    std::uint64_t interval_us = 0;  ///< requested length of an epoch; 0 if none was requested
    std::vector<Block> blocks;

    [[nodiscard]] std::uint64_t pages() const;
    /// The place of a page, numbered across all blocks. It must be below pages().
    [[nodiscard]] Place place(std::uint64_t page) const;
    bool operator==(const Header&) const = default;
};

/// `count` consecutive accesses, each the first of its epoch to 2^order pages. The first one is to
/// the pages from `page` on, and each of the others to the pages that follow.
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
    std::uint64_t begin_us = 0;  ///< since the start of the recording
    std::uint64_t length_us = 0;
    std::uint64_t dropped = 0;     ///< lost accesses
    std::uint64_t unresolved = 0;  ///< accesses that could not be related to a page
    std::vector<Touch> touches;

    /// Appends a touch, merging it with the last one if it continues that.
    void add(const Touch& touch);
    /// The size of the hot set in pages.
    [[nodiscard]] std::uint64_t pages() const;
    bool operator==(const Epoch&) const = default;
};

struct Trace {
    Header header;
    std::vector<Epoch> epochs;
};

}  // namespace gc::trace
