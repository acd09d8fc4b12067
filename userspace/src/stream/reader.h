// SPDX-License-Identifier: GPL-2.0-or-later
// Splits a migration stream into items. No I/O.
#pragma once

#include "stream/cursor.h"
#include "stream/format.h"
#include "util/error.h"

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace gc::stream {

// Byte views point into the input of next(). Names of RAM blocks live as long as the reader.

struct FileHeader {};

struct Configuration {
    struct Subsection {
        std::string_view name;
        std::span<const std::byte> bytes;  ///< verbatim, including the tag
    };
    std::string_view machine;
    std::vector<Subsection> subsections;
    std::vector<std::string_view>
        capabilities;  ///< those that the source requires of its destination
};

struct Command {
    CommandCode code;
    std::span<const std::byte> payload;  ///< its length is valid for the code
};

/// PACKAGED and its body; see package.h.
struct Package {
    std::span<const std::byte> body;
};

struct SectionHeader {
    Tag tag;  ///< start, part, end or full
    std::uint32_t id;
    std::string_view name;       ///< also set for part and end
    std::uint32_t instance = 0;  ///< start and full only
    std::uint32_t version = 0;   ///< start and full only
};

struct RamBlockList {
    struct Block {
        std::string_view name;
        std::uint64_t length;                             ///< bytes
        std::optional<std::uint64_t> page_size = {};      ///< bytes, if larger than the host's page
        std::optional<std::uint64_t> guest_address = {};  ///< with x-ignore-shared
    };
    std::uint64_t total;  ///< bytes
    std::vector<Block> blocks;
};

struct RamPage {
    std::string_view block;
    std::size_t index;  ///< of the block in the RamBlockList, or in order of appearance without one
    bool named;         ///< the record contains the block's name (no CONTINUE)
    std::uint64_t offset;  ///< bytes, in the block
    std::span<const std::byte> data;
};

struct RamZero {
    std::string_view block;
    std::size_t index;
    bool named;
    std::uint64_t offset;
};

/// Consecutive pages of one block, either all with data or all zero.
struct RamRun {
    std::string_view block;
    std::size_t index;     ///< of the block, as in RamPage
    std::uint64_t offset;  ///< of the first page: bytes, in the block
    std::uint64_t pages;
    bool zero;
};

struct EndOfRam {};  ///< end of the body of a "ram" section

struct SectionFooter {
    std::uint32_t id;
};

struct EndOfFile {};

struct VmDescription {
    std::string_view json;
};

/// Device state outside a package. From here to the end of the stream, items cannot be told apart.
struct Raw {
    std::span<const std::byte> bytes;
};

using Item = std::variant<FileHeader, Configuration, Command, Package, SectionHeader, RamBlockList,
                          RamPage, RamZero, EndOfRam, SectionFooter, EndOfFile, VmDescription, Raw>;

/// The position in the format at which the input starts.
enum class Start {
    header,   ///< a whole stream
    entry,    ///< a stream resumed after a broken connection (postcopy-recover), without header
    records,  ///< QEMU's preempt channel: RAM records only, up to the first EndOfRam
};

class Reader {
  public:
    explicit Reader(Start start = Start::header);

    /// Consumes one whole item from the front of the input. Returns nullopt, and consumes nothing,
    /// if the item is incomplete. Errors: protocol, unsupported, with the offset in the stream; the
    /// reader is then unusable and repeats the error.
    Result<std::optional<Item>> next(std::span<const std::byte>& input);

    /// Consumes the run of pages without block name at the front of the input, for callers that do
    /// not need the individual pages. Most of a stream is such runs. Returns nullopt where next()
    /// has to parse.
    std::optional<RamRun> next_run(std::span<const std::byte>& input);

    /// Bytes consumed so far.
    [[nodiscard]] std::uint64_t position() const { return position_; }

  private:
    enum class Expect {
        header,
        configuration,
        entry,
        ram_record,
        footer,
        description,
        raw,
        nothing
    };

    /// The state that parsing changes. next() works on a copy, and keeps it once the item is
    /// complete.
    struct State {
        Expect expect;
        std::uint32_t section = 0;              ///< the open section, or the last one
        std::optional<std::uint32_t> ram = {};  ///< id of the ram section
        bool ram_ends = false;                  ///< END of the ram section was seen
        bool ignore_shared = false;             ///< the source has x-ignore-shared
        std::optional<std::size_t> last_block = {};
    };
    struct Block {
        std::string name;
        std::uint64_t length;  ///< bytes
    };

    Result<Item> parse(Cursor& in, State& state);
    Result<Item> parse_header(Cursor& in, State& state);
    Result<Item> parse_configuration(Cursor& in, State& state);
    Result<Item> parse_entry(Cursor& in, Tag tag, State& state);
    Result<Item> parse_section(Cursor& in, Tag tag, State& state);
    Result<Item> parse_command(Cursor& in);
    Result<Item> parse_ram(Cursor& in, State& state);
    Result<Item> parse_block_list(Cursor& in, std::uint64_t total, const State& state);
    Result<std::size_t> parse_block(Cursor& in, bool named, const State& state);

    Start start_;
    State state_;
    std::deque<Block> blocks_;  ///< grows at the end only, so that the names stay in place
    bool listed_ = false;       ///< blocks_ comes from a RamBlockList and is complete
    std::uint64_t position_ = 0;
    std::optional<Error> broken_;
};

}  // namespace gc::stream
