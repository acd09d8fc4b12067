// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/reader.h"

#include <array>

namespace gc::stream {
namespace {

struct Refused {
    std::uint64_t flag;
    std::string_view name;
};

/// RAM records that only a capability which we do not carry produces.
constexpr std::array<Refused, 4> refused_flags{{
    {ram_xbzrle, "xbzrle"},
    {ram_hook, "rdma"},
    {ram_compress, "compress"},
    {ram_multifd_flush, "multifd"},
}};

/// An item that is not all there yet: the fields read so far may be zeros. Never leaves this file.
Result<Item> incomplete() { return Item(FileHeader{}); }

bool is_known(std::uint16_t code) {
    return code >= static_cast<std::uint16_t>(CommandCode::open_return_path) &&
           code <= static_cast<std::uint16_t>(CommandCode::switchover_start);
}

}  // namespace

Reader::Reader(Start start, std::map<std::string, std::uint64_t, std::less<>> page_sizes)
    : start_(start), page_sizes_(std::move(page_sizes)),
      expect_(start == Start::header  ? Expect::header
              : start == Start::entry ? Expect::entry
                                      : Expect::ram_record),
      after_ram_(start == Start::records ? Expect::nothing : Expect::footer_or_entry) {}

Result<std::optional<Item>> Reader::next(std::span<const std::byte>& input) {
    if (broken_)
        return Unexpected(*broken_);
    if (input.empty())
        return std::nullopt;
    Cursor in(input);
    after_ = expect_;
    const std::string_view block_before = last_block_;
    auto item = parse(in);
    if (!item) {
        broken_ = item.error();
        broken_->message = fmt::format("migration stream, byte {}: {}", position_, broken_->message);
        return Unexpected(*broken_);
    }
    if (in.short_of_data()) {
        last_block_ = block_before;
        return std::nullopt;
    }
    expect_ = after_;
    position_ += input.size() - in.rest().size();
    input = in.rest();
    return std::optional<Item>(std::move(*item));
}

Result<Item> Reader::parse(Cursor& in) {
    switch (expect_) {
    case Expect::header:
        return parse_header(in);
    case Expect::ram_record:
        return parse_ram(in);
    case Expect::raw:
        return Item(Raw{in.bytes(in.rest().size())});
    case Expect::nothing:
        return fail(ErrorKind::protocol, "{} bytes after the stream's end", in.rest().size());
    case Expect::entry:
    case Expect::footer_or_entry:
        break;
    }
    return parse_entry(in);
}

Result<Item> Reader::parse_header(Cursor& in) {
    const auto magic = in.be<std::uint32_t>();
    const auto version = in.be<std::uint32_t>();
    if (in.short_of_data())
        return incomplete();
    if (magic != file_magic || version != file_version)
        return fail(ErrorKind::protocol,
                    "expected a QEMU migration stream ({:08x} version {}), got {:08x} version {}",
                    file_magic, file_version, magic, version);
    after_ = Expect::entry;
    return Item(FileHeader{});
}

Result<Item> Reader::parse_entry(Cursor& in) {
    const auto tag = static_cast<Tag>(in.be<std::uint8_t>());
    after_ = Expect::entry;
    switch (tag) {
    case Tag::configuration:
        return parse_configuration(in);
    case Tag::section_start:
    case Tag::section_part:
    case Tag::section_end:
    case Tag::section_full:
        return parse_section(in, tag);
    case Tag::section_footer:
        if (expect_ != Expect::footer_or_entry)
            return fail(ErrorKind::protocol, "a section footer without a section");
        return Item(SectionFooter{in.be<std::uint32_t>()});
    case Tag::command:
        return parse_command(in);
    case Tag::eof:
        after_ = Expect::nothing;
        return Item(EndOfFile{});
    case Tag::subsection:
    case Tag::vm_description:
        break;
    }
    return fail(ErrorKind::protocol, "expected a section or a command, got the byte 0x{:02x}",
                static_cast<unsigned>(tag));
}

Result<Item> Reader::parse_configuration(Cursor& in) {
    const auto length = in.be<std::uint32_t>();
    if (length > max_machine_name)
        return fail(ErrorKind::protocol, "a machine name of {} bytes; at most {} are plausible", length,
                    max_machine_name);
    Configuration configuration{in.text(length), {}};
    // A subsection has no length: its fields are known by its name. What follows the last one is the
    // next entry's tag, so that one more byte must be there to tell.
    while (!in.short_of_data()) {
        const std::span<const std::byte> start = in.rest();
        if (start.empty()) {
            in.bytes(1);  // not there yet
            break;
        }
        if (static_cast<Tag>(start.front()) != Tag::subsection)
            break;
        in.bytes(1);
        const std::string_view name = in.short_string();
        in.be<std::uint32_t>();  // version
        if (name == "configuration/capabilities") {
            const auto count = in.be<std::uint32_t>();
            for (std::uint32_t i = 0; i < count && !in.short_of_data(); ++i)
                in.short_string();
        } else if (name == "configuration/target-page-bits") {
            in.be<std::uint32_t>();
        } else if (name == "configuration/uuid") {
            in.bytes(16);
        } else if (!in.short_of_data()) {
            return fail(ErrorKind::unsupported, "unknown subsection '{}' of the configuration", name);
        }
        if (!in.short_of_data())
            configuration.subsections[name] = start.first(start.size() - in.rest().size());
    }
    return Item(std::move(configuration));
}

Result<Item> Reader::parse_section(Cursor& in, Tag tag) {
    const bool opens = tag == Tag::section_start || tag == Tag::section_full;
    SectionHeader header{tag, in.be<std::uint32_t>(), {}};
    if (opens) {
        header.name = in.short_string();
        header.instance = in.be<std::uint32_t>();
        header.version = in.be<std::uint32_t>();
        if (in.short_of_data())
            return incomplete();
        header.name = intern(header.name);
        sections_[header.id] = header.name;
    } else {
        const auto known = sections_.find(header.id);
        if (in.short_of_data())
            return incomplete();
        // A recovered stream goes on with a section that was opened before it broke: only ram does.
        if (known == sections_.end() && start_ != Start::entry)
            return fail(ErrorKind::protocol, "section {} goes on but never began", header.id);
        header.name = known == sections_.end() ? ram_section_name : known->second;
    }
    if (header.name != ram_section_name) {
        after_ = Expect::raw;
        return Item(header);
    }
    if (opens && header.version != ram_version)
        return fail(ErrorKind::unsupported, "section ram has version {}; expected {}", header.version,
                    ram_version);
    // "The same block" may refer back over the section's beginning (last_sent_block in migration/ram.c).
    after_ = Expect::ram_record;
    return Item(header);
}

Result<Item> Reader::parse_command(Cursor& in) {
    const auto code = in.be<std::uint16_t>();
    const auto length = in.be<std::uint16_t>();
    const auto payload = in.bytes(length);
    if (in.short_of_data())
        return incomplete();
    if (!is_known(code))
        return fail(ErrorKind::unsupported, "command {} is unknown; this QEMU is too new for this gcctl",
                    code);
    const auto command = static_cast<CommandCode>(code);
    if (command == CommandCode::enable_colo)
        return fail(ErrorKind::unsupported, "the source uses COLO, which guidecopy does not carry");
    if (command != CommandCode::packaged)
        return Item(Command{command, payload});
    if (length != 4)
        return fail(ErrorKind::protocol, "PACKAGED with a payload of {} bytes; expected 4", length);
    const auto size = Cursor(payload).be<std::uint32_t>();
    if (size > max_package)
        return fail(ErrorKind::protocol, "a package of {} bytes; at most {} are plausible", size,
                    max_package);
    return Item(Package{in.bytes(size)});
}

Result<Item> Reader::parse_ram(Cursor& in) {
    const auto head = in.be<std::uint64_t>();
    if (in.short_of_data())
        return incomplete();
    const std::uint64_t flags = head & ram_flag_mask;
    const std::uint64_t offset = head & ~ram_flag_mask;
    for (const Refused& refused : refused_flags)
        if (flags & refused.flag)
            return fail(ErrorKind::unsupported,
                        "the source sends RAM with {0}, which guidecopy does not carry; turn it off: "
                        "migrate_set_capability {0} off",
                        refused.name);
    switch (flags & ~std::uint64_t{ram_continue}) {
    case ram_eos:
        after_ = after_ram_;
        return Item(EndOfRam{});
    case ram_mem_size:
        return parse_block_list(in, offset);
    case ram_page:
    case ram_zero:
        break;
    default:
        return fail(ErrorKind::protocol, "a RAM record with the flags 0x{:x}", flags);
    }
    GC_TRY(const std::string_view block, parse_block(in, flags));
    const auto length = lengths_.find(block);
    if (!in.short_of_data() && length != lengths_.end() && offset >= length->second)
        return fail(ErrorKind::protocol, "page 0x{:x} of RAM block {}, which has 0x{:x} bytes", offset,
                    block, length->second);
    if (flags & ram_page)
        return Item(RamPage{block, offset, in.bytes(target_page)});
    if (const auto fill = in.be<std::uint8_t>(); fill != 0)
        return fail(ErrorKind::protocol, "a page of RAM block {} filled with 0x{:02x}; expected zeros",
                    block, fill);
    return Item(RamZero{block, offset});
}

Result<std::string_view> Reader::parse_block(Cursor& in, std::uint64_t flags) {
    if (flags & ram_continue) {
        if (last_block_.empty())
            return fail(ErrorKind::protocol, "a RAM record goes on with a block that none has named");
        return last_block_;
    }
    const std::string_view name = in.short_string();
    if (in.short_of_data())
        return std::string_view{};
    if (!lengths_.empty() && !lengths_.contains(name))
        return fail(ErrorKind::protocol, "a page of RAM block '{}', which the source did not announce",
                    name);
    last_block_ = intern(name);
    return last_block_;
}

Result<Item> Reader::parse_block_list(Cursor& in, std::uint64_t total) {
    if (total > max_ram)
        return fail(ErrorKind::protocol, "RAM of 0x{:x} bytes; at most 0x{:x} are plausible", total,
                    max_ram);
    RamBlockList list{total, {}};
    for (std::uint64_t left = total; left > 0;) {
        const std::string_view name = in.short_string();
        const auto length = in.be<std::uint64_t>();
        if (const auto size = page_sizes_.find(name); size != page_sizes_.end()) {
            if (const auto sent = in.be<std::uint64_t>(); !in.short_of_data() && sent != size->second)
                return fail(ErrorKind::protocol, "RAM block {} has pages of {} bytes; expected {}", name,
                            sent, size->second);
        }
        if (in.short_of_data())
            return incomplete();
        if (length == 0 || length > left || length % target_page != 0)
            return fail(ErrorKind::protocol,
                        "RAM block '{}' of 0x{:x} bytes where 0x{:x} of 0x{:x} are left", name, length,
                        left, total);
        left -= length;
        list.blocks.push_back({name, length});
    }
    for (RamBlockList::Block& block : list.blocks) {
        block.name = intern(block.name);
        lengths_[block.name] = block.length;
    }
    return Item(std::move(list));
}

}  // namespace gc::stream
