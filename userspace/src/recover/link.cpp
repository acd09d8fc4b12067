// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/link.h"

#include "peer/record.h"
#include "stream/cursor.h"
#include "stream/writer.h"
#include "util/page.h"
#include "util/poll.h"
#include "util/text.h"

#include <array>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using stream::Cursor;

constexpr int protocol_version = 1;
constexpr std::size_t head_size = 16;
constexpr std::size_t max_hello = 256;
constexpr std::uint64_t max_pages = std::uint64_t{1} << 40;
constexpr std::size_t max_blocks = 4096;

struct Head {
    FrameKind kind = FrameKind::alive;
    std::uint32_t size = 0;
    std::uint32_t check = 0;
};

std::vector<std::byte> encode_head(FrameKind kind, std::span<const std::byte> body) {
    std::vector<std::byte> head{static_cast<std::byte>(kind), {}, {}, {}};
    stream::append_be32(head, static_cast<std::uint32_t>(body.size()));
    stream::append_be32(head, peer::crc32c(body));
    stream::append_be32(head, peer::crc32c(head));
    return head;
}

Result<Head> decode_head(std::span<const std::byte> bytes) {
    Cursor in(bytes);
    const auto kind = in.be<std::uint32_t>() >> 24;
    Head head{static_cast<FrameKind>(kind), in.be<std::uint32_t>(), in.be<std::uint32_t>()};
    if (in.be<std::uint32_t>() != peer::crc32c(bytes.first(head_size - 4)))
        return fail(ErrorKind::protocol, "a frame of the other gcctl was damaged on its way");
    if (kind < static_cast<std::uint32_t>(FrameKind::description) ||
        kind > static_cast<std::uint32_t>(FrameKind::alive) || head.size > max_frame)
        return fail(ErrorKind::protocol, "invalid frame of kind {} and {} bytes", kind, head.size);
    return head;
}

std::string text_of(std::span<const std::byte> body) {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
}

}  // namespace

// ---- messages

std::string encode(const Description& description) {
    json blocks = json::array();
    for (const Block& block : description.blocks)
        blocks.push_back(
            {{"name", block.name}, {"pages", block.pages}, {"granule", block.granule}});
    return json{{"id", description.id},
                {"uuid", description.uuid},
                {"completed", description.completed},
                {"blocks", blocks}}
        .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Description> decode_description(std::span<const std::byte> body) {
    const json object = json::parse(text_of(body), nullptr, false);
    Description description;
    try {
        description.id = object.at("id").get<std::string>();
        description.uuid = object.at("uuid").get<std::string>();
        description.completed = object.at("completed").get<bool>();
        for (const json& block : object.at("blocks"))
            description.blocks.push_back({block.at("name").get<std::string>(),
                                          block.at("pages").get<std::uint64_t>(),
                                          block.at("granule").get<std::uint64_t>()});
    } catch (const std::exception&) {
        return fail(ErrorKind::protocol, "expected the other gcctl's description, found '{}'",
                    printable(text_of(body), 60));
    }
    if (description.blocks.size() > max_blocks)
        return fail(ErrorKind::protocol, "expected at most {} RAM blocks", max_blocks);
    for (const Block& block : description.blocks)
        if (block.pages > max_pages || block.granule == 0 || block.pages % block.granule != 0 ||
            block.name.size() > stream::max_name)
            return fail(ErrorKind::protocol, "invalid RAM block '{}'", printable(block.name, 60));
    return description;
}

std::vector<std::byte> encode(const Request& request) {
    std::vector<std::byte> body;
    stream::append_be16(body, request.block);
    stream::append_be64(body, request.first);
    stream::append_be32(body, request.count);
    return body;
}

Result<Request> decode_request(std::span<const std::byte> body) {
    Cursor in(body);
    const Request request{in.be<std::uint16_t>(), in.be<std::uint64_t>(), in.be<std::uint32_t>()};
    if (in.short_of_data() || !in.rest().empty())
        return fail(ErrorKind::protocol, "invalid request of {} bytes", body.size());
    return request;
}

void append_pages_head(std::vector<std::byte>& out, const PagesHead& head) {
    stream::append_be32(out, head.section);
    stream::append_be16(out, head.block);
}

void append_page(std::vector<std::byte>& out, const PageBytes& page) {
    stream::append_be64(out, page.number | (page.bytes.empty() ? zero_page : 0));
    stream::append(out, page.bytes);
}

Result<std::vector<PageBytes>> decode_pages(std::span<const std::byte> body, PagesHead& head) {
    Cursor in(body);
    head.section = in.be<std::uint32_t>();
    head.block = in.be<std::uint16_t>();
    std::vector<PageBytes> pages;
    while (!in.rest().empty() && !in.short_of_data()) {
        const auto number = in.be<std::uint64_t>();
        const bool zero = (number & zero_page) != 0;
        pages.push_back(
            {number & ~zero_page, zero ? std::span<const std::byte>() : in.bytes(page_size)});
    }
    if (in.short_of_data())
        return fail(ErrorKind::protocol, "expected whole pages, found {} bytes", body.size());
    return pages;
}

std::string hello(const std::string& id) {
    return json{{"guidecopy-recovery", protocol_version}, {"id", id}}.dump();
}

Result<std::string> decode_hello(std::string_view line) {
    const json object = json::parse(line, nullptr, false);
    if (object.is_object() && object.contains("channel"))
        return fail(ErrorKind::unsupported,
                    "this is 'gcctl recover receive', which finishes a migration; expected "
                    "'gcctl recover migrate', found 'gcctl migrate'");
    if (!object.is_object() || !object.contains("guidecopy-recovery"))
        return fail(ErrorKind::protocol,
                    "expected the hello of 'gcctl recover migrate', found '{}'",
                    printable(line, 60));
    if (object["guidecopy-recovery"] != protocol_version)
        return fail(ErrorKind::unsupported,
                    "expected version {} of the recovery protocol; install the same release of "
                    "gcctl on both hosts",
                    protocol_version);
    return object.contains("id") && object["id"].is_string() ? object["id"].get<std::string>()
                                                             : std::string();
}

// ---- the connection

Link::Link(peer::Connection connection) : connection_(std::move(connection)) {
    const unsigned timeout_ms = std::chrono::milliseconds(dead_after).count();
    ::setsockopt(connection_.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    // Requested pages wait behind what is in this buffer.
    constexpr int buffer_bytes = 256 * 1024;
    ::setsockopt(connection_.fd(), SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
}

Result<void> Link::send_line(const std::string& line) {
    const std::lock_guard lock(sending_);
    const std::string text = line + '\n';
    return connection_.write(std::as_bytes(std::span(text)));
}

Result<std::string> Link::receive_line(Deadline deadline) {
    for (;;) {
        if (const auto line = buffer_.take_line())
            return std::string(*line);
        if (buffer_.bytes().size() > max_hello)
            return fail(ErrorKind::protocol, "expected a line of at most {} bytes", max_hello);
        GC_TRY(const bool more, fill(deadline));
        if (!more)
            return fail(ErrorKind::io, "a peer connected but sent no hello in time");
    }
}

Result<void> Link::send(FrameKind kind, std::span<const std::byte> body) {
    std::vector<std::byte> head = encode_head(kind, body);
    std::array<iovec, 2> parts{
        {{head.data(), head.size()}, {const_cast<std::byte*>(body.data()), body.size()}}};
    const std::lock_guard lock(sending_);
    return connection_.write(std::span(parts).first(body.empty() ? 1 : 2));
}

Result<void> Link::send(FrameKind kind, std::string_view text) {
    return send(kind, std::as_bytes(std::span(text)));
}

bool Link::has_frame() const {
    const auto bytes = buffer_.bytes();
    if (bytes.size() < head_size)
        return false;
    const auto head = decode_head(bytes.first(head_size));
    return !head || bytes.size() >= head_size + head->size;
}

Result<std::optional<Frame>> Link::take() {
    const auto bytes = buffer_.bytes();
    if (bytes.size() < head_size)
        return std::nullopt;
    GC_TRY(const Head head, decode_head(bytes.first(head_size)));
    if (bytes.size() < head_size + head.size)
        return std::nullopt;
    const auto body = bytes.subspan(head_size, head.size);
    if (peer::crc32c(body) != head.check)
        return fail(ErrorKind::protocol, "a frame of the other gcctl was damaged on its way");
    std::optional<Frame> frame(Frame{head.kind, {body.begin(), body.end()}});
    buffer_.keep(bytes.size() - head_size - head.size);
    return frame;
}

Result<std::optional<Frame>> Link::receive(Deadline deadline) {
    for (;;) {
        GC_TRY(auto frame, take());
        if (frame)
            return frame;
        GC_TRY(const bool more, fill(deadline));
        if (!more)
            return std::nullopt;
    }
}

Result<bool> Link::fill(Deadline deadline) {
    GC_TRY(const bool ready,
           connection_.pending() ? true : wait_readable(connection_.fd(), deadline));
    if (!ready)
        return false;
    std::optional<std::size_t> got;
    GC_CHECK(buffer_.fill_with([&](std::span<std::byte> room) -> Result<std::size_t> {
        GC_TRY(got, connection_.read_available(room));
        return got.value_or(0);
    }));
    if (got == std::size_t{0})
        return fail(ErrorKind::io, "the other gcctl closed the connection");
    return true;
}

}  // namespace gc::recover
