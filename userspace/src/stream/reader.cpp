// SPDX-License-Identifier: GPL-2.0-or-later
// Incomplete items: a Cursor that runs out of data yields zeros, so the result of parsing them may
// look like an error. next() therefore asks the Cursor first, and discards the result if data was
// missing.
#include "stream/reader.h"

#include <algorithm>
#include <bit>

namespace gc::stream {
namespace {

constexpr std::uint32_t page_bits = std::bit_width(target_page) - 1;

Unexpected refuse_capability(std::string_view name) {
    return fail(ErrorKind::unsupported,
                "the source has the capability {0} enabled, which guidecopy does not support; "
                "disable it: migrate-set-capabilities {{\"capabilities\": [{{\"capability\": "
                "\"{0}\", \"state\": false}}]}}",
                name);
}

/// The reason why a RAM record is not supported, or nullopt.
std::optional<Unexpected> refuse_record(std::uint64_t flags) {
    if (flags & ram_xbzrle)
        return refuse_capability("xbzrle");
    if (flags & ram_compress)
        return refuse_capability("compress");
    if (flags & ram_multifd_flush)
        return refuse_capability("multifd");
    if (flags & ram_hook)
        return fail(ErrorKind::unsupported, "the source migrates by RDMA, which guidecopy does not "
                                            "support; migrate to a unix: or tcp: address");
    return std::nullopt;
}

/// mig_cmd_args in migration/savevm.c. QEMU rejects other lengths, too.
bool allowed_length(CommandCode code, std::size_t length) {
    switch (code) {
    case CommandCode::open_return_path:
    case CommandCode::postcopy_listen:
    case CommandCode::postcopy_run:
    case CommandCode::enable_colo:
    case CommandCode::postcopy_resume:
    case CommandCode::switchover_start:
        return length == 0;
    case CommandCode::ping:
    case CommandCode::packaged:
        return length == 4;
    case CommandCode::postcopy_advise:
        return length == 16 || length == 0;  // 0: dirty bitmaps only
    case CommandCode::postcopy_ram_discard:
    case CommandCode::recv_bitmap:
        return length > 0;
    }
    return false;
}

bool is_known_command(std::uint16_t code) {
    return code >= static_cast<std::uint16_t>(CommandCode::open_return_path) &&
           code <= static_cast<std::uint16_t>(CommandCode::switchover_start);
}

/// Parses the fields of a subsection of the configuration, which does not state its length.
Result<void> parse_subsection(Cursor& in, std::string_view name, Configuration& configuration) {
    if (name == capabilities_subsection) {
        const auto count = in.be<std::uint32_t>();
        if (count > max_capabilities)
            return fail(ErrorKind::protocol, "expected at most {1} capabilities, found {0}", count,
                        max_capabilities);
        for (std::uint32_t i = 0; i < count; ++i)
            configuration.capabilities.push_back(in.short_string());
    } else if (name == page_bits_subsection) {
        if (const auto bits = in.be<std::uint32_t>(); bits != page_bits)
            return fail(ErrorKind::unsupported,
                        "expected pages of {1} bytes at the source, found 2^{0} bytes", bits,
                        target_page);
    } else if (name == uuid_subsection) {
        in.bytes(16);
    } else {
        return fail(
            ErrorKind::unsupported,
            "unknown subsection '{}' in the configuration; this QEMU is too new for this gcctl",
            name);
    }
    return {};
}

/// Whether a page size follows the length in an entry of a block list: see format.h.
bool page_size_follows(Cursor in) {
    const auto next = in.be<std::uint64_t>();
    return !in.short_of_data() && next != 0 && next >> 56 == 0 && (next & ram_flag_mask) == 0;
}

}  // namespace

Reader::Reader(Start start)
    : start_(start), state_{start == Start::header  ? Expect::header
                            : start == Start::entry ? Expect::entry
                                                    : Expect::ram_record} {}

Result<std::optional<Item>> Reader::next(std::span<const std::byte>& input) {
    if (broken_)
        return Unexpected(*broken_);
    if (input.empty())
        return std::nullopt;
    Cursor in(input);
    State state = state_;
    auto item = parse(in, state);
    if (in.short_of_data())
        return std::nullopt;
    if (!item) {
        broken_ = item.error();
        broken_->message =
            fmt::format("migration stream, byte {}: {}", position_, broken_->message);
        return Unexpected(*broken_);
    }
    state_ = state;
    position_ += input.size() - in.rest().size();
    input = in.rest();
    return std::optional<Item>(std::move(*item));
}

std::optional<RamRun> Reader::next_run(std::span<const std::byte>& input) {
    if (broken_ || state_.expect != Expect::ram_record || !state_.last_block)
        return std::nullopt;
    const Block& block = blocks_[*state_.last_block];
    RamRun run{block.name, *state_.last_block, 0, 0, false};
    Cursor in(input);
    for (Cursor ahead = in;; in = ahead, ++run.pages) {
        const auto head = ahead.be<std::uint64_t>();
        const std::uint64_t flags = head & ram_flag_mask;
        const std::uint64_t offset = head & ~ram_flag_mask;
        const bool zero = flags == (ram_zero | ram_continue);
        if (!zero && flags != (ram_page | ram_continue))
            break;
        if (run.pages == 0) {
            run.offset = offset;
            run.zero = zero;
        }
        if (offset >= block.length || offset != run.offset + run.pages * target_page ||
            zero != run.zero)
            break;
        const bool good =
            zero ? ahead.be<std::uint8_t>() == 0 : ahead.bytes(target_page).size() == target_page;
        if (!good || ahead.short_of_data())
            break;
    }
    if (run.pages == 0)
        return std::nullopt;
    position_ += input.size() - in.rest().size();
    input = in.rest();
    return run;
}

Result<Item> Reader::parse(Cursor& in, State& state) {
    if (state.expect == Expect::header)
        return parse_header(in, state);
    if (state.expect == Expect::ram_record)
        return parse_ram(in, state);
    if (state.expect == Expect::raw)
        return Item(Raw{in.bytes(in.rest().size())});
    if (state.expect == Expect::nothing)
        return fail(ErrorKind::protocol, "expected the end of the stream, found {} more bytes",
                    in.rest().size());

    const auto tag = static_cast<Tag>(in.be<std::uint8_t>());
    if (state.expect == Expect::configuration && tag == Tag::configuration)
        return parse_configuration(in, state);
    if (state.expect == Expect::footer && tag == Tag::section_footer) {
        state.expect = Expect::entry;
        if (const auto id = in.be<std::uint32_t>(); id != state.section)
            return fail(ErrorKind::protocol,
                        "expected the footer of section {1}, found that of section {0}", id,
                        state.section);
        return Item(SectionFooter{state.section});
    }
    if (state.expect == Expect::description) {
        if (tag != Tag::vm_description)
            return fail(ErrorKind::protocol,
                        "expected the end of the stream or a description of the devices after EOF, "
                        "found 0x{:02x}",
                        static_cast<unsigned>(tag));
        state.expect = Expect::nothing;
        const auto length = in.be<std::uint32_t>();
        if (length > max_description)
            return fail(ErrorKind::protocol,
                        "expected a description of at most {1} bytes, found {0}", length,
                        max_description);
        return Item(VmDescription{in.text(length)});
    }
    return parse_entry(in, tag, state);
}

Result<Item> Reader::parse_header(Cursor& in, State& state) {
    const auto magic = in.be<std::uint32_t>();
    const auto version = in.be<std::uint32_t>();
    if (magic == multifd_magic)
        return refuse_capability("multifd");
    if (magic != file_magic || version != file_version)
        return fail(ErrorKind::protocol,
                    "expected a QEMU migration stream ({:08x} version {}), found {:08x} version {}",
                    file_magic, file_version, magic, version);
    state.expect = Expect::configuration;
    return Item(FileHeader{});
}

Result<Item> Reader::parse_configuration(Cursor& in, State& state) {
    const auto length = in.be<std::uint32_t>();
    if (length > max_machine_name)
        return fail(ErrorKind::protocol, "expected a machine name of at most {1} bytes, found {0}",
                    length, max_machine_name);
    Configuration configuration{in.text(length), {}, {}};
    for (;;) {
        Cursor ahead = in;
        const auto tag = static_cast<Tag>(ahead.be<std::uint8_t>());
        if (ahead.short_of_data())
            in =
                ahead;  // the next entry's tag is needed to tell whether another subsection follows
        if (tag != Tag::subsection)
            break;
        const std::span<const std::byte> start = in.rest();
        in = ahead;
        const std::string_view name = in.short_string();
        if (const auto version = in.be<std::uint32_t>(); version != 1)
            return fail(ErrorKind::unsupported, "expected version 1 of subsection '{}', found {}",
                        name, version);
        if (std::ranges::find(configuration.subsections, name, &Configuration::Subsection::name) !=
            configuration.subsections.end())
            return fail(ErrorKind::protocol, "duplicate subsection '{}'", name);
        GC_CHECK(parse_subsection(in, name, configuration));
        configuration.subsections.push_back({name, start.first(start.size() - in.rest().size())});
    }
    for (const std::string_view capability : configuration.capabilities) {
        if (capability == "mapped-ram")
            return refuse_capability(capability);
        state.ignore_shared |= capability == "x-ignore-shared";
    }
    state.expect = Expect::entry;
    return Item(std::move(configuration));
}

Result<Item> Reader::parse_entry(Cursor& in, Tag tag, State& state) {
    state.expect = Expect::entry;
    switch (tag) {
    case Tag::section_start:
    case Tag::section_part:
    case Tag::section_end:
    case Tag::section_full:
        return parse_section(in, tag, state);
    case Tag::command:
        return parse_command(in);
    case Tag::eof:
        state.expect = Expect::description;
        return Item(EndOfFile{});
    case Tag::configuration:
        return fail(ErrorKind::protocol,
                    "expected a configuration only directly after the file header");
    case Tag::section_footer:
        return fail(ErrorKind::protocol, "section footer without a section");
    case Tag::subsection:
    case Tag::vm_description:
        break;
    }
    return fail(ErrorKind::protocol, "expected a section or a command, found byte 0x{:02x}",
                static_cast<unsigned>(tag));
}

Result<Item> Reader::parse_section(Cursor& in, Tag tag, State& state) {
    SectionHeader header{tag, in.be<std::uint32_t>(), ram_section_name};
    state.section = header.id;
    if (tag == Tag::section_start || tag == Tag::section_full) {
        header.name = in.short_string();
        header.instance = in.be<std::uint32_t>();
        header.version = in.be<std::uint32_t>();
        if (header.name == ram_section_name)
            state.ram = header.id;
    } else if (!state.ram && start_ == Start::entry) {
        // It was opened before the connection broke. No other section continues in post-copy.
        state.ram = header.id;
    }
    if (header.id == state.ram) {
        if (header.name == ram_section_name && header.instance == 0 &&
            (header.version == ram_version || tag == Tag::section_part ||
             tag == Tag::section_end)) {
            header.name = ram_section_name;
            state.expect = Expect::ram_record;
            state.ram_ends = state.ram_ends || tag == Tag::section_end;
            return Item(header);
        }
        return fail(ErrorKind::unsupported,
                    "expected section {} to be 'ram' instance 0 version {}, found '{}' instance {} "
                    "version {}",
                    header.id, ram_version, header.name, header.instance, header.version);
    }
    // Only RAM may be sent while the VM runs, or before it is stopped: other sections cannot be
    // skipped to find the switch-over. dirty-bitmaps, VFIO and virtio-mem (since 8.0, its
    // early_setup section) send such sections.
    if (tag == Tag::section_part || tag == Tag::section_end)
        return fail(ErrorKind::protocol, "section {} continues but was never started", header.id);
    if (!state.ram_ends)
        return fail(
            ErrorKind::unsupported,
            "device '{}' sends state while the VM runs, which guidecopy does not support; unplug "
            "the device, or disable the capability that causes this (dirty-bitmaps, block)",
            header.name);
    state.expect = Expect::raw;
    return Item(header);
}

Result<Item> Reader::parse_command(Cursor& in) {
    const auto code = in.be<std::uint16_t>();
    const auto length = in.be<std::uint16_t>();
    const auto command = static_cast<CommandCode>(code);
    if (!is_known_command(code))
        return fail(ErrorKind::unsupported,
                    "unknown command {}; this QEMU is too new for this gcctl", code);
    if (!allowed_length(command, length))
        return fail(ErrorKind::protocol, "invalid payload of {1} bytes for command {0}", code,
                    length);
    if (command == CommandCode::enable_colo)
        return refuse_capability("x-colo");
    if (command != CommandCode::packaged)
        return Item(Command{command, in.bytes(length)});
    const auto size = in.be<std::uint32_t>();
    if (size > max_package)
        return fail(ErrorKind::protocol, "expected a package of at most {1} bytes, found {0}", size,
                    max_package);
    return Item(Package{in.bytes(size)});
}

Result<Item> Reader::parse_ram(Cursor& in, State& state) {
    const auto head = in.be<std::uint64_t>();
    const std::uint64_t flags = head & ram_flag_mask;
    const std::uint64_t offset = head & ~ram_flag_mask;
    if (auto refused = refuse_record(flags))
        return *refused;
    if (flags == ram_eos) {
        state.expect = start_ == Start::records ? Expect::nothing : Expect::footer;
        return Item(EndOfRam{});
    }
    if (flags == ram_mem_size && start_ != Start::records)
        return parse_block_list(in, offset, state);
    const std::uint64_t kind = flags & ~std::uint64_t{ram_continue};
    if (kind != ram_page && kind != ram_zero)
        return fail(ErrorKind::protocol, "invalid flags 0x{:x} in a RAM record", flags);

    const bool named = (flags & ram_continue) == 0;
    GC_TRY(const std::size_t index, parse_block(in, named, state));
    if (in.short_of_data())
        return Item(EndOfRam{});
    const Block& block = blocks_[index];
    if (offset >= block.length)
        return fail(ErrorKind::protocol,
                    "page 0x{:x} is beyond the end of RAM block '{}' (0x{:x} bytes)", offset,
                    block.name, block.length);
    state.last_block = index;
    if (kind == ram_page)
        return Item(RamPage{block.name, index, named, offset, in.bytes(target_page)});
    if (const auto fill = in.be<std::uint8_t>(); fill != 0)
        return fail(ErrorKind::protocol,
                    "expected zeros in a zero page of RAM block '{}', found 0x{:02x}", block.name,
                    fill);
    return Item(RamZero{block.name, index, named, offset});
}

Result<std::size_t> Reader::parse_block(Cursor& in, bool named, const State& state) {
    if (!named) {
        if (!state.last_block)
            return fail(ErrorKind::protocol,
                        "RAM record with CONTINUE before any record named a block");
        return *state.last_block;
    }
    const std::string_view name = in.short_string();
    if (in.short_of_data())
        return std::size_t{0};
    const auto known = std::ranges::find(blocks_, name, &Block::name);
    const auto index = static_cast<std::size_t>(known - blocks_.begin());
    if (known != blocks_.end())
        return index;
    if (listed_ || start_ == Start::header)
        return fail(ErrorKind::protocol,
                    "page of unknown RAM block '{}': it is not in the source's list of blocks",
                    name);
    if (name.empty() || index == max_blocks)
        return fail(ErrorKind::protocol, "invalid RAM block '{}' after {} others", name, index);
    blocks_.push_back({std::string(name), max_ram});
    return index;
}

Result<Item> Reader::parse_block_list(Cursor& in, std::uint64_t total, const State& state) {
    if (listed_)
        return fail(ErrorKind::protocol, "duplicate list of RAM blocks");
    if (total > max_ram)
        return fail(ErrorKind::protocol, "expected at most 0x{1:x} bytes of RAM, found 0x{0:x}",
                    total, max_ram);
    RamBlockList list{total, {}};
    for (std::uint64_t left = total; left > 0;) {
        RamBlockList::Block block{in.short_string(), in.be<std::uint64_t>()};
        if (state.ignore_shared)  // no page size: QEMU does not allow postcopy-ram with this
            block.guest_address = in.be<std::uint64_t>();
        else if (in.rest().size() < sizeof(std::uint64_t))
            in.bytes(sizeof(std::uint64_t));  // more data always follows: at least EOS
        else if (page_size_follows(in))
            block.page_size = in.be<std::uint64_t>();
        if (in.short_of_data())
            return Item(EndOfRam{});
        if (block.name.empty() || block.length == 0 || block.length > left ||
            block.length % target_page != 0 || list.blocks.size() == max_blocks ||
            std::ranges::find(list.blocks, block.name, &RamBlockList::Block::name) !=
                list.blocks.end())
            return fail(
                ErrorKind::protocol,
                "invalid RAM block {}: '{}' of 0x{:x} bytes, with 0x{:x} of 0x{:x} remaining",
                list.blocks.size(), block.name, block.length, left, total);
        left -= block.length;
        list.blocks.push_back(block);
    }
    for (RamBlockList::Block& block : list.blocks)
        block.name = blocks_.emplace_back(Block{std::string(block.name), block.length}).name;
    listed_ = true;
    return Item(std::move(list));
}

}  // namespace gc::stream
