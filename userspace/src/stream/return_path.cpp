// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/return_path.h"

namespace gc::stream {
namespace {

constexpr std::uint64_t bitmap_end = 0x0123456789abcdef;  // RAMBLOCK_RECV_BITMAP_ENDING

void append_message(Buffer& out, ReturnType type, std::span<const std::byte> payload) {
    append_be16(out, static_cast<std::uint16_t>(type));
    append_be16(out, static_cast<std::uint16_t>(payload.size()));
    append(out, payload);
}

void append_short_string(Buffer& out, std::string_view text) {
    out.push_back(static_cast<std::byte>(text.size()));
    append(out, std::as_bytes(std::span(text)));
}

}  // namespace

Result<std::optional<ReturnMessage>> ReturnPathReader::next(std::span<const std::byte>& input) {
    Cursor in(input);
    const auto type = in.be<std::uint16_t>();
    Cursor body(in.bytes(in.be<std::uint16_t>()));
    if (in.short_of_data())
        return std::nullopt;
    std::optional<ReturnMessage> message;
    switch (static_cast<ReturnType>(type)) {
    case ReturnType::shut:
        message = ShutMessage{body.be<std::uint32_t>()};
        break;
    case ReturnType::pong:
        message = PongMessage{body.be<std::uint32_t>()};
        break;
    case ReturnType::req_pages_id:
    case ReturnType::req_pages: {
        PageRequest request{{}, body.be<std::uint64_t>(), body.be<std::uint32_t>()};
        if (static_cast<ReturnType>(type) == ReturnType::req_pages_id)
            last_block_ = body.short_string();
        request.block = last_block_;
        if (request.block.empty())
            return fail(ErrorKind::protocol, "the destination asks for a page of a block it never named");
        if (request.start % target_page != 0 || request.length % target_page != 0)
            return fail(ErrorKind::protocol,
                        "the destination asks for 0x{:x} bytes at 0x{:x}; expected whole pages",
                        request.length, request.start);
        message = std::move(request);
        break;
    }
    case ReturnType::recv_bitmap:
        return fail(ErrorKind::unsupported,
                    "the destination sends a bitmap, as in the recovery of a broken post-copy, which "
                    "guidecopy does not offer yet");
    case ReturnType::resume_ack:
        body.be<std::uint32_t>();
        message = ResumeAck{};
        break;
    case ReturnType::switchover_ack:
        message = SwitchoverAck{};
        break;
    }
    if (!message)
        return fail(ErrorKind::protocol, "the destination sent a message of unknown type {}", type);
    if (body.short_of_data() || !body.rest().empty())
        return fail(ErrorKind::protocol, "the destination sent a message of type {} with a wrong length",
                    type);
    input = in.rest();
    return message;
}

void append_shut(Buffer& out, std::uint32_t status) {
    Buffer payload;
    append_be32(payload, status);
    append_message(out, ReturnType::shut, payload);
}

void append_pong(Buffer& out, std::uint32_t value) {
    Buffer payload;
    append_be32(payload, value);
    append_message(out, ReturnType::pong, payload);
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
    Buffer payload;
    append_short_string(payload, block);
    append_message(out, ReturnType::recv_bitmap, payload);
    // The bitmap follows the message: one bit a page, in whole 64-bit words.
    const std::uint64_t size = (pages + 63) / 64 * 8;
    append_be64(out, size);
    out.insert(out.end(), size, std::byte{0xff});
    append_be64(out, bitmap_end);
}

void append_resume_ack(Buffer& out) {
    Buffer payload;
    append_be32(payload, 1);
    append_message(out, ReturnType::resume_ack, payload);
}

}  // namespace gc::stream
