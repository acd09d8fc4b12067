// SPDX-License-Identifier: GPL-2.0-or-later
// The records in which a channel (peer/channel.h) travels on a connection.
//
// A record is a head of 20 bytes, and for `data` that many bytes after it. All numbers are
// big-endian:
//
//   byte 0   kind
//        1   size of the data: 24 bits, at most max_record
//        4   position: 64 bits
//       12   CRC32C of the data; 0 without data, or if the connection is encrypted
//       16   CRC32C of the bytes before
//
// A position counts the bytes of one direction of a channel since its beginning, over all
// connections. The end of the stream counts as one more byte, so that it arrives exactly once, too.
//
// The head has a check of its own: with a size that is wrong the receiver would wait for data that
// never comes. Encryption finds all changes to the data by itself; the head's check stays there,
// because it costs nothing.
#pragma once

#include "util/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gc::peer {

enum class RecordKind : std::uint8_t {
    resume = 1,  ///< first on each connection; position: what the sender of this record has
    data = 2,    ///< position: of its first byte
    end = 3,     ///< no data follows; position: of the end
    ack = 4,     ///< position: what the reader has taken; also says that its sender is alive
    stop = 5,    ///< nobody reads this direction any more
    closed = 6,  ///< nobody reads or writes the channel any more
};

struct RecordHead {
    RecordKind kind = RecordKind::ack;
    std::size_t size = 0;  ///< number of bytes that follow the head
    std::uint64_t position = 0;
    std::uint32_t check = 0;  ///< of these bytes
    bool operator==(const RecordHead&) const = default;
};

inline constexpr std::size_t record_head_size = 20;
/// Limit for the data of a record: the receiver delivers only whole ones.
inline constexpr std::size_t max_record = std::size_t{64} * 1024;

/// @param size at most max_record
std::array<std::byte, record_head_size> encode(const RecordHead& head);
/// Errors: protocol (wrong check, unknown kind, invalid size).
Result<RecordHead> decode(std::span<const std::byte, record_head_size> bytes);

/// CRC32C (RFC 3720 appendix B.4). @param before the CRC of the bytes before these
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace gc::peer
