// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/writer.h"

#include "trace/format.h"

namespace gc::trace {
namespace {

void append_u32(Buffer& to, std::uint32_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8)
        to.push_back(static_cast<std::byte>(value >> shift));
}

void append_varint(Buffer& to, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        to.push_back(static_cast<std::byte>(value | 0x80));
    to.push_back(static_cast<std::byte>(value));
}

}  // namespace

void append_header(Buffer& to, const Header& header) {
    for (const std::uint8_t byte : magic)
        to.push_back(static_cast<std::byte>(byte));
    append_u32(to, version);
    append_u32(to, static_cast<std::uint32_t>(header.mode));
    append_varint(to, header.interval_us);
    append_varint(to, header.blocks.size());
    for (const Block& block : header.blocks) {
        append_varint(to, block.name.size());
        for (const char letter : block.name)
            to.push_back(static_cast<std::byte>(letter));
        append_varint(to, block.bytes);
        append_varint(to, block.page_size);
    }
}

void append_epoch(Buffer& to, const Epoch& epoch) {
    to.push_back(static_cast<std::byte>(Tag::epoch));
    for (const std::uint64_t value : {epoch.begin_us, epoch.length_us, epoch.dropped,
                                      epoch.unresolved, std::uint64_t{epoch.touches.size()}})
        append_varint(to, value);
    Last last;
    for (const Touch& run : epoch.touches) {
        const bool same = last.kind == run.kind && last.order == run.order && last.vcpu == run.vcpu;
        append_varint(to, zigzag(run.page - last.next_page));
        append_varint(to, run.count << 1 | (same ? 0 : 1));
        if (!same) {
            append_varint(to, static_cast<std::uint64_t>(run.kind) | std::uint64_t{run.order}
                                                                         << kind_bits);
            append_varint(to, std::uint32_t{run.vcpu + 1});
        }
        append_varint(to, run.time_us - last.time_us);
        last = {run.page + run.pages(), run.time_us, run.vcpu, run.kind, run.order};
    }
}

void append_end(Buffer& to, std::uint64_t epochs) {
    to.push_back(static_cast<std::byte>(Tag::end));
    append_varint(to, epochs);
}

}  // namespace gc::trace
