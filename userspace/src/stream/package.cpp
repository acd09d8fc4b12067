// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/package.h"

#include <algorithm>

namespace gc::stream {
namespace {

constexpr std::size_t run_size = 5;  // tag, code, length
constexpr std::size_t ping_size = run_size + 4;

std::optional<Command> read_command(std::span<const std::byte> bytes) {
    Cursor in(bytes);
    const auto tag = static_cast<Tag>(in.be<std::uint8_t>());
    const auto code = static_cast<CommandCode>(in.be<std::uint16_t>());
    const auto payload = in.bytes(in.be<std::uint16_t>());
    if (in.short_of_data() || tag != Tag::command)
        return std::nullopt;
    return Command{code, payload};
}

/// Parses the last `size` bytes, if they are exactly this command.
std::optional<Command> read_last(std::span<const std::byte> bytes, CommandCode code,
                                 std::size_t size) {
    if (bytes.size() < size)
        return std::nullopt;
    const auto command = read_command(bytes.last(size));
    return command && command->code == code && command->payload.size() == size - run_size
               ? command
               : std::nullopt;
}

}  // namespace

Result<PackageParts> split_package(std::span<const std::byte> body) {
    const auto first = read_command(body);
    if (!first || first->code != CommandCode::postcopy_listen || !first->payload.empty())
        return fail(ErrorKind::protocol, "expected POSTCOPY_LISTEN at the start of the package");
    body = body.subspan(run_size);
    if (const auto second = read_command(body))
        return fail(
            ErrorKind::protocol,
            "expected device sections after POSTCOPY_LISTEN in the package, found command {}",
            static_cast<unsigned>(second->code));

    if (!read_last(body, CommandCode::postcopy_run, run_size))
        return fail(ErrorKind::protocol, "expected POSTCOPY_RUN at the end of the package");
    body = body.first(body.size() - run_size);

    // A section ends with a footer, so trailing bytes that look like a PING are one.
    std::optional<std::uint32_t> last_ping;
    while (const auto ping = read_last(body, CommandCode::ping, ping_size)) {
        if (!last_ping) {
            GC_TRY(last_ping, parse_ping(ping->payload));
        }
        body = body.first(body.size() - ping_size);
    }
    if (!last_ping)
        return fail(ErrorKind::protocol, "expected a PING before POSTCOPY_RUN in the package");
    if (body.empty() || static_cast<Tag>(body.front()) != Tag::section_full)
        return fail(ErrorKind::protocol, "expected device sections in the package, found none");
    return PackageParts{body, *last_ping};
}

namespace {

struct SectionHead {
    std::uint32_t id = 0;
    std::string_view name;
};

std::optional<SectionHead> read_head(std::span<const std::byte> bytes) {
    Cursor in(bytes);
    const auto tag = static_cast<Tag>(in.be<std::uint8_t>());
    SectionHead head;
    head.id = in.be<std::uint32_t>();
    head.name = in.short_string();
    (void)in.be<std::uint32_t>();  // instance
    (void)in.be<std::uint32_t>();  // version
    const auto is_printable = [](char c) { return c > 0x20 && c < 0x7f; };
    if (in.short_of_data() || tag != Tag::section_full || head.name.empty() ||
        !std::ranges::all_of(head.name, is_printable))
        return std::nullopt;
    return head;
}

/// The size of the section at the front, with its footer; 0 if it does not end.
std::size_t size_of_section(std::span<const std::byte> bytes, std::uint32_t id) {
    Buffer footer;
    append_section_footer(footer, id);
    for (auto from = bytes.begin();;) {
        const auto found = std::search(from, bytes.end(), footer.begin(), footer.end());
        if (found == bytes.end())
            return 0;
        const auto size = static_cast<std::size_t>(found - bytes.begin()) + footer.size();
        if (size == bytes.size() || read_head(bytes.subspan(size)))
            return size;
        from = found + 1;
    }
}

}  // namespace

bool is_of(std::string_view name, std::span<const std::string> devices) {
    const auto begin = name.rfind('/') + 1;  // 0 without one
    return std::ranges::any_of(devices, [&](const std::string& device) {
        return name == device || name.substr(begin) == device;
    });
}

Result<Buffer> without_devices(std::span<const std::byte> sections,
                               std::span<const std::string> absent) {
    Buffer out;
    while (!sections.empty()) {
        const auto head = read_head(sections);
        const std::size_t size = head ? size_of_section(sections, head->id) : 0;
        if (size == 0)
            return fail(ErrorKind::protocol,
                        "expected whole device sections in the package, found {}",
                        head ? fmt::format("no end of '{}'", head->name) : "something else");
        if (!is_of(head->name, absent))
            append(out, sections.first(size));
        sections = sections.subspan(size);
    }
    return out;
}

void append_portable_configuration(Buffer& out, const Configuration& configuration) {
    std::vector<std::span<const std::byte>> kept;
    for (const auto& [name, bytes] : configuration.subsections)
        if (name != capabilities_subsection)
            kept.push_back(bytes);
    append_configuration(out, configuration.machine, kept);
}

Buffer guide_stream(std::span<const std::byte> preamble, std::span<const std::byte> devices) {
    Buffer out(preamble.begin(), preamble.end());
    append(out, devices);
    append_eof(out);
    // A destination that has not been told of post-copy expects a description of the devices.
    append_vm_description(out, "{}");
    return out;
}

namespace {

/// The section that announces the RAM blocks: without page sizes, as all have the usual one.
void append_block_list(Buffer& out, const GuideState& state) {
    out.push_back(static_cast<std::byte>(Tag::section_start));
    append_be32(out, state.ram_section);
    append_short_string(out, ram_section_name);
    append_be32(out, 0);  // instance
    append_be32(out, ram_version);
    std::uint64_t total = 0;
    for (const GuideState::Block& block : state.blocks)
        total += block.length;
    append_be64(out, total | ram_mem_size);
    for (const GuideState::Block& block : state.blocks) {
        append_short_string(out, block.name);
        append_be64(out, block.length);
    }
    append_end_of_ram(out);
    append_section_footer(out, state.ram_section);
}

}  // namespace

Buffer postcopy_guide_stream(const GuideState& state) {
    Buffer out = state.preamble;
    append_command(out, CommandCode::open_return_path, {});
    Buffer sizes;
    append_be64(sizes, target_page);  // the page sizes of all blocks, or-ed
    append_be64(sizes, target_page);
    append_command(out, CommandCode::postcopy_advise, sizes);
    append_block_list(out, state);
    // ADVISE discards everything, but RUN is refused without a discard: see
    // StreamRelay::ensure_discard().
    const PageRange first{0, 1};
    append_discard(out, state.blocks.front().name, std::span(&first, 1));
    Buffer body;
    append_command(body, CommandCode::postcopy_listen, {});
    append(body, state.devices);
    append_command(body, CommandCode::postcopy_run, {});
    Buffer length;
    append_be32(length, static_cast<std::uint32_t>(body.size()));
    append_command(out, CommandCode::packaged, length);
    append(out, body);
    return out;
}

}  // namespace gc::stream
