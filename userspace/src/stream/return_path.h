// SPDX-License-Identifier: GPL-2.0-or-later
// The return path: what a destination says to its source, on the main channel.
// Messages: be16 type, be16 length, payload (rp_cmd_args and migrate_send_rp_message in
// migration/migration.c).
#pragma once

#include "stream/cursor.h"
#include "stream/writer.h"
#include "util/error.h"

#include <optional>
#include <string>
#include <variant>

namespace gc::stream {

/// enum mig_rp_message_type in migration/migration.h
enum class ReturnType : std::uint16_t {
    shut = 1,
    pong = 2,
    req_pages_id = 3,
    req_pages = 4,
    recv_bitmap = 5,
    resume_ack = 6,
    switchover_ack = 7,  // since 8.1
};

struct ShutMessage {
    std::uint32_t status;  ///< 0 is good
};
struct PongMessage {
    std::uint32_t value;
};
struct PageRequest {
    std::string block;    ///< also when the message left it out, meaning the one before
    std::uint64_t start;  ///< bytes, in the block; whole pages
    std::uint32_t
        length;  ///< bytes, of one host page of the block; start + length does not overflow
};
struct ResumeAck {};
struct SwitchoverAck {};

using ReturnMessage = std::variant<ShutMessage, PongMessage, PageRequest, ResumeAck, SwitchoverAck>;

class ReturnPathReader {
  public:
    /// As Reader::next. Errors: protocol; unsupported for RECV_BITMAP, which only a recovery asks
    /// for.
    Result<std::optional<ReturnMessage>> next(std::span<const std::byte>& input);

  private:
    Result<ReturnMessage> parse(ReturnType type, Cursor& body);
    Result<ReturnMessage> parse_request(Cursor& body, bool names_block);

    std::string last_block_;
    std::uint64_t position_ = 0;
    std::optional<Error> broken_;
};

void append_shut(Buffer& out, std::uint32_t status);
void append_pong(Buffer& out, std::uint32_t value);
/// Always with the block's name. `length` may be more than a page: QEMU takes any range of the
/// block.
void append_page_request(Buffer& out, std::string_view block, std::uint64_t start,
                         std::uint32_t length);
/// "Of this block every page has arrived" (ramblock_recv_bitmap_send in migration/ram.c).
void append_all_received(Buffer& out, std::string_view block, std::uint64_t pages);
void append_resume_ack(Buffer& out);

}  // namespace gc::stream
