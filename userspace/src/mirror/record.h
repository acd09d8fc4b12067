// SPDX-License-Identifier: GPL-2.0-or-later
// What the channel "mirror" carries, from destination to source: records with a head of 32 bits,
// big-endian, the kind in the upper 8 and the size of the rest in the lower 24. The rest begins
// with the NIC's number, 16 bits, big-endian: its place in the list of the message `ready`.
//
// The channel "forward" carries records of kind packet from source to destination. Their NIC is
// that of the frame's destination address, and the number is 0.
#pragma once

#include "mirror/packet.h"
#include "util/error.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace gc::mirror {

enum class RecordKind : std::uint8_t {
    packet = 1,    ///< then a packet behind its virtio header, in the byte order of the hosts
    left_out = 2,  ///< then the first bytes of a frame that was not sent
    lost = 3,      ///< then a number of packets, 64 bits, big-endian, that the kernel dropped
};

inline constexpr std::size_t record_head_size = 4 + 2;

/// @param size of what follows the NIC's number
[[nodiscard]] std::array<std::byte, record_head_size>
record_head(RecordKind kind, std::uint16_t nic, std::size_t size);

struct Record {
    RecordKind kind = RecordKind::packet;
    std::uint16_t nic = 0;
    std::span<std::byte> content;  ///< valid until the next call of the reader
};

/// Cuts a stream into records.
class RecordReader {
  public:
    /// @param channel of which errors speak
    explicit RecordReader(std::string_view channel = "mirror") : channel_(channel) {}

    /// Room for bytes that arrive; then say how many came.
    [[nodiscard]] std::span<std::byte> room();
    void received(std::size_t bytes) { end_ += bytes; }
    /// @return nullopt if no whole record has arrived. Errors: protocol.
    Result<std::optional<Record>> next();

  private:
    std::string_view channel_;
    std::vector<std::byte> bytes_;
    std::size_t begin_ = 0, end_ = 0;
};

}  // namespace gc::mirror
