// SPDX-License-Identifier: GPL-2.0-or-later
// The frames of the channels "main" and "bulk". The first four bytes are a frame's head.
#include "peer/frame.h"
#include "peer/zero_runs.h"
#include "receive/zero_pages.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace {

/// All pages of the runs are taken, each once.
void take_zeros(std::span<const std::byte> frame) {
    using namespace gc;
    const auto zeros = peer::decode_zero_runs(frame);
    if (!zeros)
        return;
    if (peer::encode(*zeros) != std::vector(frame.begin(), frame.end()))
        std::abort();
    constexpr std::uint64_t pages = 64;
    receive::ZeroPages set({{.name = "m", .pages = pages}});
    if (!set.add(zeros->block, zeros->runs))
        return;
    std::uint64_t told = 0;
    for (const ledger::PageRun& run : zeros->runs)
        told += run.count;
    std::uint64_t taken = set.take({0, zeros->runs.front().first}) ? 1 : 0;
    while (const auto run = set.take_next(3))
        taken += run->pages.count;
    if (told > pages || taken != told || set.left() != 0)
        std::abort();
}

/// It yields as many bytes as its head says, and then the same bytes if it is compressed again.
void unpack(std::span<const std::byte> frame) {
    using namespace gc::peer;
    static FrameUnpacker unpacker, again;
    const auto kind = unpacker.unpack(frame);
    if (!kind)
        return;
    const auto content = unpacker.content();
    const auto how = static_cast<Compression>(frame[1]);
    if (content.empty() || content.size() > max_bulk_frame ||
        (*kind != FrameKind::stream && *kind != FrameKind::sections))
        std::abort();
    static Compressor compressor;
    const auto result = compressor.compress(how, content, 2 * content.size() + 100);
    if (!result)
        std::abort();
    const auto head = encode(CompressedHead{*kind, how, content.size()});
    std::vector<std::byte> made(head.begin(), head.end());
    made.insert(made.end(), result->begin(), result->end());
    if (again.unpack(made) != *kind || !std::ranges::equal(again.content(), content))
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc::peer;
    if (size < frame_head_size)
        return 0;
    const auto input = std::as_bytes(std::span(data, size));
    const auto head = decode(input.first<frame_head_size>());
    if (!head)
        return 0;
    const auto frame = input.subspan(frame_head_size);
    if (head->kind == FrameKind::zeros) {
        take_zeros(frame);
        return 0;
    }
    if (head->kind == FrameKind::compressed) {
        unpack(frame);
        return 0;
    }
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
