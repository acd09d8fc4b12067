// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/record.h"

#include <algorithm>
#include <utility>

namespace gc::mirror {
namespace {

constexpr std::size_t nic_size = 2;
constexpr std::size_t max_rest = nic_size + max_packet;
constexpr std::size_t read_size = std::size_t{64} << 10;

}  // namespace

std::array<std::byte, record_head_size> record_head(RecordKind kind, std::uint16_t nic,
                                                    std::size_t size) {
    const std::size_t rest = nic_size + size;
    return {static_cast<std::byte>(kind),
            static_cast<std::byte>(rest >> 16),
            static_cast<std::byte>(rest >> 8 & 0xff),
            static_cast<std::byte>(rest & 0xff),
            static_cast<std::byte>(nic >> 8),
            static_cast<std::byte>(nic & 0xff)};
}

std::span<std::byte> RecordReader::room() {
    std::ranges::copy(std::span(bytes_).subspan(begin_, end_ - begin_), bytes_.begin());
    end_ -= std::exchange(begin_, 0);
    if (bytes_.size() < end_ + read_size)
        bytes_.resize(end_ + read_size);
    return std::span(bytes_).subspan(end_);
}

Result<std::optional<Record>> RecordReader::next() {
    const std::span<std::byte> bytes = std::span(bytes_).subspan(begin_, end_ - begin_);
    if (bytes.size() < record_head_size)
        return std::nullopt;
    const auto byte = [&](std::size_t at) { return std::to_integer<std::size_t>(bytes[at]); };
    const std::size_t kind = byte(0);
    const std::size_t rest = byte(1) << 16 | byte(2) << 8 | byte(3);
    if (kind < static_cast<std::size_t>(RecordKind::packet) ||
        kind > static_cast<std::size_t>(RecordKind::lost))
        return fail(ErrorKind::protocol, "unknown record of kind {} on channel '{}'", kind,
                    channel_);
    if (rest < nic_size || rest > max_rest)
        return fail(ErrorKind::protocol,
                    "expected a record of {} to {} bytes on channel '{}', found {}", nic_size,
                    max_rest, channel_, rest);
    if (bytes.size() < record_head_size - nic_size + rest)
        return std::nullopt;
    begin_ += record_head_size - nic_size + rest;
    return Record{static_cast<RecordKind>(kind), static_cast<std::uint16_t>(byte(4) << 8 | byte(5)),
                  bytes.subspan(record_head_size, rest - nic_size)};
}

}  // namespace gc::mirror
