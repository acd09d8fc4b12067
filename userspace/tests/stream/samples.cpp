// SPDX-License-Identifier: GPL-2.0-or-later
#include "samples.h"

namespace gc::stream::samples {
namespace {

template <typename... Handlers> struct Overloaded : Handlers... { using Handlers::operator()...; };
template <typename... Handlers> Overloaded(Handlers...) -> Overloaded<Handlers...>;

void encode_section(Buffer& out, const SectionHeader& section) {
    if (section.tag == Tag::section_part)
        append_section_part(out, section.id);
    else if (section.tag == Tag::section_end)
        append_section_end(out, section.id);
    else
        append_section_start(out, section.tag, section.id, section.name, section.instance,
                             section.version);
}

}  // namespace

Buffer bytes(std::initializer_list<int> values) {
    Buffer out;
    for (const int value : values)
        out.push_back(static_cast<std::byte>(value));
    return out;
}

Buffer concat(std::initializer_list<Buffer> parts) {
    Buffer out;
    for (const Buffer& part : parts)
        append(out, part);
    return out;
}

Buffer header() {
    Buffer out;
    append_header(out);
    return out;
}

Buffer preamble() {
    Buffer out = header();
    append_configuration(out, machine, {});
    return out;
}

Buffer subsection(std::string_view name, std::uint32_t version, const Buffer& fields) {
    Buffer out = bytes({0x05});
    append_short_string(out, name);
    append_be32(out, version);
    append(out, fields);
    return out;
}

Buffer capabilities(std::initializer_list<std::string_view> names) {
    Buffer fields;
    append_be32(fields, static_cast<std::uint32_t>(names.size()));
    for (const std::string_view name : names)
        append_short_string(fields, name);
    return subsection(capabilities_subsection, 1, fields);
}

Buffer ram_begins() {
    Buffer out = section(Tag::section_start, ram_id, "ram", 4);
    append_block_list(out, 18 * target_page);
    append_block(out, "pc.ram", 16 * target_page, {}, {});
    append_block(out, "rom", 2 * target_page, {}, {});
    return out;
}

Buffer until_ram() {
    return concat({preamble(), ram_begins()});
}

Buffer record(std::uint64_t head) {
    Buffer out;
    append_be64(out, head);
    return out;
}

Buffer page(std::string_view block, std::uint64_t number, std::uint8_t fill) {
    Buffer out;
    append_page_head(out, number * target_page, block, false);
    out.insert(out.end(), target_page, static_cast<std::byte>(fill));
    return out;
}

Buffer zero(std::string_view block, std::uint64_t number) {
    Buffer out;
    append_page_head(out, number * target_page, block, true);
    return out;
}

Buffer ram_rests() {
    Buffer out;
    append_end_of_ram(out);
    append_section_footer(out, ram_id);
    return out;
}

Buffer section(Tag tag, std::uint32_t id, std::string_view name, std::uint32_t version) {
    Buffer out;
    encode_section(out, {tag, id, name, 0, version});
    return out;
}

Buffer command(CommandCode code, const Buffer& payload) {
    Buffer out;
    append_command(out, code, payload);
    return out;
}

Buffer package(std::initializer_list<std::uint32_t> pings) {
    Buffer out = concat({command(CommandCode::postcopy_listen),
                         section(Tag::section_full, 7, "timer", 2), bytes({1, 2, 3})});
    append_section_footer(out, 7);
    for (const std::uint32_t value : pings)
        append_ping(out, value);
    append_command(out, CommandCode::postcopy_run, {});
    return out;
}

Buffer postcopy() {
    Buffer out = concat({preamble(), command(CommandCode::open_return_path)});
    append_ping(out, 1);
    Buffer advise;
    append_be64(advise, target_page);
    append_be64(advise, target_page);
    append(out, command(CommandCode::postcopy_advise, advise));
    append(out, concat({ram_begins(), ram_rests(), section(Tag::section_part, ram_id, "", 0),
                        page("pc.ram", 0, 0xaa), zero("", 1), page("rom", 1, 0xbb), ram_rests()}));
    const PageRange dirty{1, 15};
    append_discard(out, "pc.ram", std::span(&dirty, 1));
    append_package(out, package({3}));
    append(out, section(Tag::section_part, ram_id, "", 0));
    append(out, zero("", 0));  // of "rom", named before the section
    for (std::uint64_t number = 1; number < 16; ++number)
        append(out, zero(number == 1 ? "pc.ram" : "", number));
    append(out, concat({ram_rests(), section(Tag::section_end, ram_id, "", 0), ram_rests()}));
    append_eof(out);
    return out;
}

void encode(Buffer& out, const Item& item) {
    std::visit(Overloaded{
                   [&](const FileHeader&) { append_header(out); },
                   [&](const Configuration& configuration) {
                       std::vector<std::span<const std::byte>> subsections;
                       for (const auto& each : configuration.subsections)
                           subsections.push_back(each.bytes);
                       append_configuration(out, configuration.machine, subsections);
                   },
                   [&](const Command& each) { append_command(out, each.code, each.payload); },
                   [&](const Package& each) { append_package(out, each.body); },
                   [&](const SectionHeader& each) { encode_section(out, each); },
                   [&](const RamBlockList& list) {
                       append_block_list(out, list.total);
                       for (const auto& each : list.blocks)
                           append_block(out, each.name, each.length, each.page_size,
                                        each.guest_address);
                   },
                   [&](const RamPage& each) {
                       append_page_head(out, each.offset, each.named ? each.block : "", false);
                       append(out, each.data);
                   },
                   [&](const RamZero& each) {
                       append_page_head(out, each.offset, each.named ? each.block : "", true);
                   },
                   [&](const EndOfRam&) { append_end_of_ram(out); },
                   [&](const SectionFooter& each) { append_section_footer(out, each.id); },
                   [&](const EndOfFile&) { append_eof(out); },
                   [&](const VmDescription& each) { append_vm_description(out, each.json); },
                   [&](const Raw& each) { append(out, each.bytes); },
               },
               item);
}

}  // namespace gc::stream::samples
