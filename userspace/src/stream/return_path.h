// SPDX-License-Identifier: GPL-2.0-or-later
// The return path: messages from a destination to its source, on the main channel.
// Format: be16 type, be16 length, payload (rp_cmd_args and migrate_send_rp_message in
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
    std::uint32_t status;  ///< 0 on success
};
struct PongMessage {
    std::uint32_t value;
};
struct PageRequest {
    std::string block;     ///< set even if the message leaves it out, meaning the previous block
    std::uint64_t start;   ///< bytes, in the block; a multiple of the page size
    std::uint32_t length;  ///< bytes; one host page of the block. start + length does not overflow
};
struct ResumeAck {};
struct SwitchoverAck {};
/// Which pages of a block the destination has, at the time of its answer.
struct ReceivedBitmap {
    std::string block;
    std::vector<std::byte> bits;  ///< one a page, little-endian, in whole 64-bit words
};

using ReturnMessage =
    std::variant<ShutMessage, PongMessage, PageRequest, ResumeAck, SwitchoverAck, ReceivedBitmap>;

class ReturnPathReader {
  public:
    enum class Bitmaps : bool { refused, accepted };
    /// @param bitmaps whether this is a recovery
    explicit ReturnPathReader(Bitmaps bitmaps = Bitmaps::refused) : bitmaps_(bitmaps) {}

    /// Like Reader::next(). Errors: protocol; unsupported for RECV_BITMAP outside a recovery.
    Result<std::optional<ReturnMessage>> next(std::span<const std::byte>& input);

  private:
    Result<ReturnMessage> parse(ReturnType type, Cursor& body, Cursor& after);
    Result<ReturnMessage> parse_bitmap(Cursor& body, Cursor& after) const;
    Result<ReturnMessage> parse_request(Cursor& body, bool names_block);

    Bitmaps bitmaps_;
    std::string last_block_;
    std::uint64_t position_ = 0;
    std::optional<Error> broken_;
};

/// A source QEMU 10.2 or later learns from the pong to this ping, the last one in its package, that
/// the destination has the device state (QEMU_VM_PING_PACKAGED_LOADED in migration/savevm.h). Only
/// then does it leave its state postcopy-device, in which it lets the VM run again if the migration
/// fails (migration_iteration_run() and migration_detect_error() in migration/migration.c).
constexpr std::uint32_t package_loaded_ping = 0x42;

void append_shut(Buffer& out, std::uint32_t status);
void append_pong(Buffer& out, std::uint32_t value);
/// Always includes the block's name. `length` may exceed a page: QEMU accepts any range of the
/// block.
void append_page_request(Buffer& out, std::string_view block, std::uint64_t start,
                         std::uint32_t length);
/// Reports that all pages of the block have arrived (ramblock_recv_bitmap_send in migration/ram.c).
void append_all_received(Buffer& out, std::string_view block, std::uint64_t pages);
/// Reports which pages have arrived. @param bits as ReceivedBitmap::bits
void append_received(Buffer& out, std::string_view block, std::span<const std::byte> bits);
void append_resume_ack(Buffer& out);
void append_switchover_ack(Buffer& out);

}  // namespace gc::stream
