// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/package.h"

namespace gc::stream {
namespace {

constexpr std::size_t ping_size = 9;  // tag, code, length, be32
constexpr std::size_t run_size = 5;

std::optional<Command> read_command(std::span<const std::byte> bytes) {
    Cursor in(bytes);
    const auto tag = static_cast<Tag>(in.be<std::uint8_t>());
    const auto code = static_cast<CommandCode>(in.be<std::uint16_t>());
    const auto payload = in.bytes(in.be<std::uint16_t>());
    if (in.short_of_data() || tag != Tag::command)
        return std::nullopt;
    return Command{code, payload};
}

std::size_t encoded_size(const Command& command) { return run_size + command.payload.size(); }

}  // namespace

Result<PackageParts> split_package(std::span<const std::byte> body) {
    bool listens = false;
    for (auto command = read_command(body); command; command = read_command(body)) {
        listens = listens || command->code == CommandCode::postcopy_listen;
        body = body.subspan(encoded_size(*command));
    }
    if (!listens)
        return fail(ErrorKind::protocol, "the package does not begin with POSTCOPY_LISTEN");

    const auto is = [](const std::optional<Command>& command, CommandCode code) {
        return command && command->code == code;
    };
    if (body.size() < run_size ||
        !is(read_command(body.last(run_size)), CommandCode::postcopy_run))
        return fail(ErrorKind::protocol, "the package does not end with POSTCOPY_RUN");
    body = body.first(body.size() - run_size);

    std::optional<std::uint32_t> last_ping;
    while (body.size() >= ping_size) {
        const auto ping = read_command(body.last(ping_size));
        if (!is(ping, CommandCode::ping) || ping->payload.size() != 4)
            break;
        if (!last_ping)
            last_ping = Cursor(ping->payload).be<std::uint32_t>();
        body = body.first(body.size() - ping_size);
    }
    if (!last_ping)
        return fail(ErrorKind::protocol, "the package has no PING before POSTCOPY_RUN");
    if (body.empty() || static_cast<Tag>(body.front()) != Tag::section_full)
        return fail(ErrorKind::protocol, "the package has no device sections");
    return PackageParts{body, *last_ping};
}

void append_portable_configuration(Buffer& out, const Configuration& configuration) {
    std::vector<std::span<const std::byte>> kept;
    for (const auto& [name, bytes] : configuration.subsections)
        if (name != "configuration/capabilities")
            kept.push_back(bytes);
    append_configuration(out, configuration.machine, kept);
}

Buffer guide_stream(std::span<const std::byte> preamble, std::span<const std::byte> devices) {
    Buffer out(preamble.begin(), preamble.end());
    append(out, devices);
    append_eof(out);
    // An empty description of the devices: a destination that was not told of post-copy expects one.
    out.push_back(static_cast<std::byte>(Tag::vm_description));
    append_be32(out, 2);
    append(out, std::as_bytes(std::span(std::string_view("{}"))));
    return out;
}

Result<Discard> parse_discard(std::span<const std::byte> payload) {
    Cursor in(payload);
    const auto version = in.be<std::uint8_t>();
    Discard discard{in.short_string(), {}};
    const auto zero = in.be<std::uint8_t>();
    if (in.short_of_data() || version != 0 || zero != 0 || in.rest().empty() ||
        in.rest().size() % 16 != 0)
        return fail(ErrorKind::protocol, "a malformed POSTCOPY_RAM_DISCARD of {} bytes",
                    payload.size());
    while (!in.rest().empty()) {
        const auto start = in.be<std::uint64_t>();
        const auto length = in.be<std::uint64_t>();
        if (start % target_page != 0 || length % target_page != 0)
            return fail(ErrorKind::protocol, "a discard of 0x{:x} bytes at 0x{:x}; expected whole pages",
                        length, start);
        discard.ranges.push_back({start / target_page, length / target_page});
    }
    return discard;
}

}  // namespace gc::stream
