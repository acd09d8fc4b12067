// SPDX-License-Identifier: GPL-2.0-or-later
// The frames of the channels "main" and "bulk". The first four bytes are a frame's head.
#include "peer/frame.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc::peer;
    if (size < frame_head_size)
        return 0;
    const auto input = std::as_bytes(std::span(data, size));
    const auto head = decode(input.first<frame_head_size>());
    if (!head)
        return 0;
    const auto frame = input.subspan(frame_head_size);
    const auto parts = parts_of(head->kind, frame);
    if (!parts)
        return 0;
    // Nothing is lost, and nothing invented.
    std::size_t sum = 0;
    for (const auto part : *parts)
        sum += part.size();
    if (sum > frame.size())
        std::abort();
    return 0;
}
