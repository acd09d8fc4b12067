// SPDX-License-Identifier: GPL-2.0-or-later
// Takes a migration stream apart, one item at a time. No I/O.
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

// Views of bytes are into the input given to next(); names of RAM blocks live as long as the
// reader.

struct FileHeader {};

struct Configuration {
    struct Subsection {
        std::string_view name;
        std::span<const std::byte> bytes;  ///< as it stands in the stream, tag and all
    };
    std::string_view machine;
    std::vector<Subsection> subsections;
    std::vector<std::string_view>
        capabilities;  ///< those the source wants its destination to have too
};

struct Command {
    CommandCode code;
    std::span<const std::byte> payload;  ///< of a length that the code allows
};

/// PACKAGED and what follows it; see package.h.
struct Package {
    std::span<const std::byte> body;
};

struct SectionHeader {
    Tag tag;  ///< start, part, end or full
    std::uint32_t id;
    std::string_view name;       ///< of part and end too
    std::uint32_t instance = 0;  ///< of start and full
    std::uint32_t version = 0;   ///< of start and full
};

struct RamBlockList {
    struct Block {
        std::string_view name;
        std::uint64_t length;                         ///< bytes
        std::optional<std::uint64_t> page_size = {};  ///< bytes, when larger than the host's pages
        std::optional<std::uint64_t> guest_address = {};  ///< with x-ignore-shared
    };
    std::uint64_t total;  ///< bytes
    std::vector<Block> blocks;
};

struct RamPage {
    std::string_view block;
    std::size_t index;  ///< of the block in the RamBlockList; without one, in order of appearance
    bool named;         ///< the record has the block's name (no CONTINUE)
    std::uint64_t offset;  ///< bytes, in the block
    std::span<const std::byte> data;
};

struct RamZero {
    std::string_view block;
    std::size_t index;
    bool named;
    std::uint64_t offset;
};

/// Pages in a row of one block, all with data or all zeros.
struct RamRun {
    std::string_view block;
    std::size_t index;     ///< of the block, as in RamPage
    std::uint64_t offset;  ///< of the first page: bytes, in the block
    std::uint64_t pages;
    bool zero;
};

struct EndOfRam {};  ///< the end of a section "ram"'s body

struct SectionFooter {
    std::uint32_t id;
};

struct EndOfFile {};

struct VmDescription {
    std::string_view json;
};

/// Device state outside a package: from here on, to the stream's end, chunks that cannot be told
/// apart.
struct Raw {
    std::span<const std::byte> bytes;
};

using Item = std::variant<FileHeader, Configuration, Command, Package, SectionHeader, RamBlockList,
                          RamPage, RamZero, EndOfRam, SectionFooter, EndOfFile, VmDescription, Raw>;

/// Where in the format the first byte is.
enum class Start {
    header,   ///< a whole stream
    entry,    ///< a stream that goes on after a broken connection (postcopy-recover): no header
    records,  ///< QEMU's preempt channel: bare RAM records up to the first EndOfRam
};

class Reader {
  public:
    explicit Reader(Start start = Start::header);

    /// Takes one whole item from the front of the input, which shrinks. Nothing when the item is
    /// not all there yet; then nothing is taken. Errors: protocol, unsupported, with the offset in
    /// the stream; the reader is then of no more use and repeats the error.
    Result<std::optional<Item>> next(std::span<const std::byte>& input);

    /// Takes as many pages in a row as stand at the front without their block's name, as most of a
    /// stream does, for who does not need each of them; the input shrinks. Nothing where next()
    /// has to look.
    std::optional<RamRun> next_run(std::span<const std::byte>& input);

    /// Bytes taken so far.
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

    /// What an item may change. A copy is worked on, and kept once the item is known to be whole.
    struct State {
        Expect expect;
        std::uint32_t section = 0;              ///< the one that is open or was last
        std::optional<std::uint32_t> ram = {};  ///< its section's id
        bool ram_ends = false;                  ///< its END was seen
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
    std::deque<Block> blocks_;  ///< grows at its end only, which keeps the names where they are
    bool listed_ = false;       ///< blocks_ are those of a RamBlockList: all there are
    std::uint64_t position_ = 0;
    std::optional<Error> broken_;
};

}  // namespace gc::stream
