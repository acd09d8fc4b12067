// SPDX-License-Identifier: GPL-2.0-or-later
// Takes a migration stream apart, one item at a time. No I/O.
#pragma once

#include "stream/cursor.h"
#include "stream/format.h"
#include "util/error.h"

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace gc::stream {

// Views are into the input given to next(), names into the reader.

struct FileHeader {};

struct Configuration {
    std::string_view machine;
    /// Each as it stands in the stream, tag and all; by name.
    std::map<std::string_view, std::span<const std::byte>> subsections;
};

struct Command {
    CommandCode code;
    std::span<const std::byte> payload;
};

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
        std::uint64_t length;  ///< bytes
    };
    std::uint64_t total;  ///< bytes
    std::vector<Block> blocks;
};

struct RamPage {
    std::string_view block;
    std::uint64_t offset;  ///< bytes, in the block
    std::span<const std::byte> data;
};

struct RamZero {
    std::string_view block;
    std::uint64_t offset;
};

struct EndOfRam {};  ///< the end of a section "ram"'s body

struct SectionFooter {
    std::uint32_t id;
};

struct EndOfFile {};

/// Device state outside a package: from here on, to the stream's end, chunks that cannot be told apart.
struct Raw {
    std::span<const std::byte> bytes;
};

using Item = std::variant<FileHeader, Configuration, Command, Package, SectionHeader, RamBlockList, RamPage,
                          RamZero, EndOfRam, SectionFooter, EndOfFile, Raw>;

/// Where in the format the first byte is.
enum class Start {
    header,    ///< a whole stream
    entry,     ///< a stream that goes on after a broken connection (postcopy-recover): no header
    records,   ///< QEMU's preempt channel: bare RAM records up to the first EndOfRam
};

class Reader {
  public:
    /// @param page_sizes host page size of each RAM block where it is not 4096 bytes: a source with
    ///        postcopy-ram then sends it in the block list, and nothing else tells that it is there
    explicit Reader(Start start = Start::header,
                    std::map<std::string, std::uint64_t, std::less<>> page_sizes = {});

    /// Takes one whole item from the front of the input, which shrinks. Nothing when the item is not all
    /// there yet; then nothing is taken. Errors: protocol, unsupported, with the offset in the stream; the
    /// reader is then of no more use and repeats the error.
    Result<std::optional<Item>> next(std::span<const std::byte>& input);

    /// Bytes taken so far.
    [[nodiscard]] std::uint64_t position() const { return position_; }

  private:
    enum class Expect { header, entry, ram_record, footer_or_entry, raw, nothing };

    Result<Item> parse(Cursor& in);
    Result<Item> parse_header(Cursor& in);
    Result<Item> parse_entry(Cursor& in);
    Result<Item> parse_configuration(Cursor& in);
    Result<Item> parse_section(Cursor& in, Tag tag);
    Result<Item> parse_command(Cursor& in);
    Result<Item> parse_ram(Cursor& in);
    Result<Item> parse_block_list(Cursor& in, std::uint64_t total);
    Result<std::string_view> parse_block(Cursor& in, std::uint64_t flags);
    std::string_view intern(std::string_view name) { return *names_.emplace(name).first; }

    Start start_;
    std::map<std::string, std::uint64_t, std::less<>> page_sizes_;
    std::set<std::string, std::less<>> names_;
    std::map<std::uint32_t, std::string_view> sections_;  ///< id -> name
    std::map<std::string_view, std::uint64_t> lengths_;   ///< RAM block -> bytes
    std::string_view last_block_;
    Expect expect_ = Expect::header;
    Expect after_ = Expect::header;  ///< what follows, once the item is known to be whole
    Expect after_ram_;               ///< what follows EndOfRam
    std::uint64_t position_ = 0;
    std::optional<Error> broken_;
};

}  // namespace gc::stream
