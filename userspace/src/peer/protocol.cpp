// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/protocol.h"

#include "util/poll.h"

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <sys/random.h>
#include <unistd.h>

namespace gc::peer {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<Channel, std::string_view>, 4> channel_names{{
    {Channel::control, "control"},
    {Channel::main, "main"},
    {Channel::bulk, "bulk"},
    {Channel::urgent, "urgent"},
}};

Result<void> send_line(int fd, const json& object) {
    const std::string line = object.dump() + '\n';
    return write_all(fd, std::as_bytes(std::span(line)));
}

/// Parses a JSON object. An error quotes the start of the line.
Result<json> parse_object(std::string_view line) {
    json value = json::parse(line, nullptr, false);
    if (!value.is_object())
        return fail(ErrorKind::protocol,
                    "expected a line of JSON from the other gcctl, found '{}'; is a gcctl of the "
                    "same release listening there?",
                    line.substr(0, 60));
    return value;
}

template <typename T> T field(const json& object, const char* key, T otherwise) {
    const auto found = object.find(key);
    if (found == object.end())
        return otherwise;
    if constexpr (std::is_same_v<T, std::string>)
        return found->is_string() ? found->template get<T>() : otherwise;
    else
        return found->is_number_integer() ? found->template get<T>() : otherwise;
}

}  // namespace

std::string_view name(Channel channel) {
    for (const auto& [value, text] : channel_names)
        if (value == channel)
            return text;
    return "unknown";
}

Result<void> send_hello(int fd, const Hello& hello) {
    return send_line(fd, {{"guidecopy", protocol_version},
                          {"channel", name(hello.channel)},
                          {"token", hello.token}});
}

Result<Hello> receive_hello(int fd, std::chrono::milliseconds timeout) {
    constexpr std::size_t max_hello = 256;
    const Deadline deadline(timeout);
    std::string line;
    for (std::byte c{};;) {
        GC_TRY(const bool ready, wait_readable(fd, deadline));
        if (!ready)
            return fail(ErrorKind::io, "a peer connected but sent no hello within {} ms",
                        timeout.count());
        GC_TRY(const std::size_t got, read_some(fd, std::span(&c, 1)));
        if (got == 0 || line.size() == max_hello)
            return fail(ErrorKind::protocol, "expected a hello from gcctl, found '{}'",
                        line.substr(0, 60));
        if (c == std::byte{'\n'})
            break;
        line.push_back(static_cast<char>(c));
    }
    GC_TRY(const json object, parse_object(line));
    const int version = field(object, "guidecopy", 0);
    if (version != protocol_version)
        return fail(ErrorKind::protocol,
                    "expected protocol version {1} from the other gcctl, found version {0}; "
                    "install the same release at both ends",
                    version, protocol_version);
    const auto wanted = field<std::string>(object, "channel", "");
    for (const auto& [channel, text] : channel_names)
        if (text == wanted)
            return Hello{channel, field<std::string>(object, "token", "")};
    return fail(ErrorKind::protocol,
                "invalid channel '{}' in a hello (expected control, main, bulk or urgent)", wanted);
}

Result<std::string> make_token() {
    std::array<unsigned char, 16> random{};
    if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
        return fail_errno(errno, "getrandom");
    std::string token;
    for (const unsigned char byte : random)
        token += fmt::format("{:02x}", byte);
    return token;
}

Result<void> Control::send(std::string_view type, json fields) {
    fields["type"] = type;
    return send_line(fd_.get(), fields);
}

Result<void> Control::send(std::string_view type) {
    return send(type, json::object());
}

Result<std::optional<json>> Control::parse_line() {
    const auto line = buffer_.take_line();
    if (!line) {
        if (buffer_.bytes().size() > max_line)
            return fail(ErrorKind::protocol, "a control message is longer than {} bytes", max_line);
        return std::nullopt;
    }
    GC_TRY(json object, parse_object(*line));
    if (field<std::string>(object, "type", "").empty())
        return fail(ErrorKind::protocol, "control message without \"type\": {}",
                    line->substr(0, 60));
    return object;
}

Result<std::optional<json>> Control::receive(std::chrono::milliseconds timeout) {
    const Deadline deadline(timeout);
    for (;;) {
        GC_TRY(auto message, parse_line());
        if (message)
            return message;
        GC_TRY(const bool ready, wait_readable(fd_.get(), deadline));
        if (!ready)
            return std::nullopt;
        constexpr std::size_t max_read = 4096;
        GC_TRY(const std::size_t got, buffer_.fill(fd_.get(), max_read));
        if (got == 0)
            return fail(ErrorKind::io, "the other gcctl closed the control connection");
    }
}

}  // namespace gc::peer
