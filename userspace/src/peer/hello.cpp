// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/hello.h"

#include "peer/fields.h"
#include "util/poll.h"

#include <algorithm>
#include <cerrno>
#include <sys/random.h>

namespace gc::peer {
namespace {

constexpr std::array<std::string_view, channel_count> channel_names{"control", "main",   "bulk",
                                                                    "urgent",  "mirror", "forward"};
constexpr std::size_t max_hello = 256;

/// Byte by byte: what follows the line belongs to the channel.
Result<std::string> read_line(Connection& from, std::size_t max_size, Deadline deadline) {
    std::string line;
    for (std::byte byte{};;) {
        GC_TRY(const bool ready, from.pending() ? true : wait_readable(from.fd(), deadline));
        if (!ready)
            return fail(ErrorKind::io, "the peer did not say hello in time");
        GC_TRY(const std::size_t got, from.read_some(std::span(&byte, 1)));
        if (got == 0 || line.size() == max_size)
            return fail(ErrorKind::protocol, "expected a hello from gcctl, found '{}'",
                        printable(line, 60));
        if (byte == std::byte{'\n'})
            return line;
        line.push_back(static_cast<char>(byte));
    }
}

std::string range(int oldest, int newest) {
    return oldest == newest ? std::to_string(newest) : fmt::format("{} to {}", oldest, newest);
}

}  // namespace

std::string_view name(ChannelId channel) {
    return channel_names[static_cast<std::size_t>(channel)];
}

Result<Token> make_token() {
    Token token{};
    if (::getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size()))
        return fail_errno(errno, "getrandom");
    return token;
}

Result<void> send_hello(Connection& to, const Hello& hello) {
    Json object{{"guidecopy", hello.oldest},
                {"newest", hello.newest},
                {"channel", name(hello.channel)},
                {"token", hex(hello.token)}};
    if (hello.resume)
        object["resume"] = true;
    const std::string line = object.dump() + '\n';
    return to.write(std::as_bytes(std::span(line)));
}

Result<Hello> receive_hello(Connection& from, Deadline deadline) {
    GC_TRY(const std::string line, read_line(from, max_hello, deadline));
    GC_TRY(const Json object, parse_object(line));
    Hello hello;
    FieldReader reader(object, "hello");
    reader("guidecopy", hello.oldest);
    hello.newest = hello.oldest;
    reader("newest", hello.newest, Need::later);
    std::string channel;
    reader("channel", channel);
    reader("token", hello.token);
    reader("resume", hello.resume, Need::later);
    GC_CHECK(reader.result);
    const auto found = std::ranges::find(channel_names, channel);
    if (found == channel_names.end())
        return fail(
            ErrorKind::protocol,
            "invalid channel '{}' in a hello (expected control, main, bulk, urgent, mirror or "
            "forward)",
            channel);
    hello.channel = static_cast<ChannelId>(found - channel_names.begin());
    return hello;
}

Result<void> send_answer(Connection& to, const Message& answer) {
    const std::string line = encode(answer);
    return to.write(std::as_bytes(std::span(line)));
}

Result<Message> receive_answer(Connection& from, Deadline deadline) {
    for (;;) {
        GC_TRY(const std::string line, read_line(from, max_line, deadline));
        GC_TRY(auto message, decode(line));
        if (message)
            return *std::move(message);
    }
}

Result<int> agree(const Hello& hello) {
    if (hello.oldest > newest_version || hello.newest < oldest_version)
        return fail(ErrorKind::protocol,
                    "expected version {} of the peer protocol, the source speaks version {}; "
                    "install releases of gcctl that share a version",
                    range(oldest_version, newest_version), range(hello.oldest, hello.newest));
    return std::min(newest_version, hello.newest);
}

}  // namespace gc::peer
