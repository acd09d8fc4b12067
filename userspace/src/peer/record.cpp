// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/record.h"

#include <isa-l/crc.h>

namespace gc::peer {
namespace {

constexpr std::size_t size_at = 1;
constexpr std::size_t position_at = 4;
constexpr std::size_t check_at = 12;
constexpr std::size_t head_check_at = 16;

template <std::size_t bytes> void put(std::span<std::byte> at, std::uint64_t number) {
    for (std::size_t i = 0; i < bytes; ++i)
        at[i] = static_cast<std::byte>(number >> 8 * (bytes - 1 - i));
}

template <std::size_t bytes> std::uint64_t get(std::span<const std::byte> at) {
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < bytes; ++i)
        number = number << 8 | std::to_integer<std::uint64_t>(at[i]);
    return number;
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
    // ISA-L neither inverts the first nor the last value.
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~before);
}

std::array<std::byte, record_head_size> encode(const RecordHead& head) {
    std::array<std::byte, record_head_size> bytes{static_cast<std::byte>(head.kind)};
    const std::span out(bytes);
    put<3>(out.subspan(size_at), head.size);
    put<8>(out.subspan(position_at), head.position);
    put<4>(out.subspan(check_at), head.check);
    put<4>(out.subspan(head_check_at), crc32c(out.first(head_check_at)));
    return bytes;
}

Result<RecordHead> decode(std::span<const std::byte, record_head_size> bytes) {
    if (get<4>(bytes.subspan(head_check_at)) != crc32c(bytes.first(head_check_at)))
        return fail(ErrorKind::protocol, "a record's head was changed on its way");
    const auto kind = std::to_integer<unsigned>(bytes[0]);
    if (kind < static_cast<unsigned>(RecordKind::resume) ||
        kind > static_cast<unsigned>(RecordKind::closed))
        return fail(ErrorKind::protocol,
                    "expected a record of kind 1 to 6 from the other gcctl, found kind {}", kind);
    const RecordHead head{.kind = static_cast<RecordKind>(kind),
                          .size = get<3>(bytes.subspan(size_at)),
                          .position = get<8>(bytes.subspan(position_at)),
                          .check = static_cast<std::uint32_t>(get<4>(bytes.subspan(check_at)))};
    const bool data = head.kind == RecordKind::data;
    if (head.size > max_record || (head.size != 0) != data)
        return fail(ErrorKind::protocol,
                    "expected 1 to {} bytes in a record of data and none in others, found {} in "
                    "one of kind {}",
                    max_record, head.size, kind);
    return head;
}

}  // namespace gc::peer
