// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/return_path.h"

namespace gc::stream {
namespace {

constexpr std::uint64_t bitmap_end = 0x0123456789abcdef;  // RAMBLOCK_RECV_BITMAP_ENDING
constexpr std::uint32_t resume_ack_value = 1;             // MIGRATION_RESUME_ACK_VALUE

void append_message(Buffer& out, ReturnType type, std::span<const std::byte> payload) {
    append_be16(out, static_cast<std::uint16_t>(type));
    append_be16(out, static_cast<std::uint16_t>(payload.size()));
    append(out, payload);
}

void append_message(Buffer& out, ReturnType type, std::uint32_t value) {
    Buffer payload;
    append_be32(payload, value);
    append_message(out, type, payload);
}

bool is_known_type(std::uint16_t type) {
    return type >= static_cast<std::uint16_t>(ReturnType::shut) &&
           type <= static_cast<std::uint16_t>(ReturnType::switchover_ack);
}

}  // namespace

Result<std::optional<ReturnMessage>> ReturnPathReader::next(std::span<const std::byte>& input) {
    if (broken_)
        return Unexpected(*broken_);
    Cursor in(input);
    const auto type = in.be<std::uint16_t>();
    const auto length = in.be<std::uint16_t>();
    if (in.short_of_data())
        return std::nullopt;
    Result<ReturnMessage> message =
        fail(ErrorKind::protocol, "unknown message type {} with {} bytes", type, length);
    if (is_known_type(type)) {
        Cursor body(in.bytes(length));
        if (in.short_of_data())
            return std::nullopt;
        message = parse(static_cast<ReturnType>(type), body, in);
        if (in.short_of_data())
            return std::nullopt;
        if (message && (body.short_of_data() || !body.rest().empty()))
            message = fail(ErrorKind::protocol, "invalid length of {1} bytes for message type {0}",
                           type, length);
    }
    if (!message) {
        broken_ = message.error();
        broken_->message =
            fmt::format("the destination's return path, byte {}: {}", position_, broken_->message);
        return Unexpected(*broken_);
    }
    position_ += input.size() - in.rest().size();
    input = in.rest();
    return std::optional<ReturnMessage>(std::move(*message));
}

/// @param after what follows the message, of which a bitmap takes a part
Result<ReturnMessage> ReturnPathReader::parse(ReturnType type, Cursor& body, Cursor& after) {
    switch (type) {
    case ReturnType::shut:
        return ReturnMessage(ShutMessage{body.be<std::uint32_t>()});
    case ReturnType::pong:
        return ReturnMessage(PongMessage{body.be<std::uint32_t>()});
    case ReturnType::req_pages_id:
    case ReturnType::req_pages:
        return parse_request(body, type == ReturnType::req_pages_id);
    case ReturnType::resume_ack:
        if (const auto value = body.be<std::uint32_t>(); value != resume_ack_value)
            return fail(ErrorKind::protocol, "expected RESUME_ACK {1}, found {0}", value,
                        resume_ack_value);
        return ReturnMessage(ResumeAck{});
    case ReturnType::switchover_ack:
        return ReturnMessage(SwitchoverAck{});
    case ReturnType::recv_bitmap:
        break;
    }
    return parse_bitmap(body, after);
}

Result<ReturnMessage> ReturnPathReader::parse_bitmap(Cursor& body, Cursor& after) const {
    if (bitmaps_ == Bitmaps::refused)
        return fail(ErrorKind::unsupported,
                    "the destination sent a bitmap, which belongs to the recovery of a broken "
                    "post-copy");
    ReceivedBitmap received{std::string(body.short_string()), {}};
    const auto size = after.be<std::uint64_t>();
    if (!after.short_of_data() && (size % 8 != 0 || size > max_ram / target_page / 8))
        return fail(ErrorKind::protocol, "invalid bitmap of {} bytes of RAM block '{}'", size,
                    received.block);
    const auto bits = after.bytes(size);
    const auto end = after.be<std::uint64_t>();
    if (after.short_of_data())
        return ReturnMessage(std::move(received));  // incomplete: the caller sees that
    if (end != bitmap_end)
        return fail(ErrorKind::protocol, "expected the end of the bitmap of RAM block '{}'",
                    received.block);
    received.bits.assign(bits.begin(), bits.end());
    return ReturnMessage(std::move(received));
}

Result<ReturnMessage> ReturnPathReader::parse_request(Cursor& body, bool names_block) {
    PageRequest request{{}, body.be<std::uint64_t>(), body.be<std::uint32_t>()};
    request.block = names_block ? body.short_string() : std::string_view(last_block_);
    if (request.block.empty())
        return fail(ErrorKind::protocol,
                    "page request without a block before any request named one");
    if (request.start % target_page != 0 || request.length % target_page != 0 ||
        request.length == 0 || request.start + request.length < request.start)
        return fail(
            ErrorKind::protocol,
            "page request: expected whole pages of RAM block '{2}', found 0x{0:x} bytes at 0x{1:x}",
            request.length, request.start, request.block);
    last_block_ = request.block;
    return ReturnMessage(std::move(request));
}

void append_shut(Buffer& out, std::uint32_t status) {
    append_message(out, ReturnType::shut, status);
}

void append_pong(Buffer& out, std::uint32_t value) {
    append_message(out, ReturnType::pong, value);
}

void append_page_request(Buffer& out, std::string_view block, std::uint64_t start,
                         std::uint32_t length) {
    Buffer payload;
    append_be64(payload, start);
    append_be32(payload, length);
    append_short_string(payload, block);
    append_message(out, ReturnType::req_pages_id, payload);
}

void append_all_received(Buffer& out, std::string_view block, std::uint64_t pages) {
    // One bit per page, in whole 64-bit words.
    const Buffer bits((pages + 63) / 64 * 8, std::byte{0xff});
    append_received(out, block, bits);
}

void append_received(Buffer& out, std::string_view block, std::span<const std::byte> bits) {
    Buffer payload;
    append_short_string(payload, block);
    append_message(out, ReturnType::recv_bitmap, payload);
    // The bitmap follows the message.
    append_be64(out, bits.size());
    append(out, bits);
    append_be64(out, bitmap_end);
}

void append_resume_ack(Buffer& out) {
    append_message(out, ReturnType::resume_ack, resume_ack_value);
}

void append_switchover_ack(Buffer& out) {
    append_message(out, ReturnType::switchover_ack, std::span<const std::byte>{});
}

}  // namespace gc::stream
