// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/zero_runs.h"

namespace gc::peer {
namespace {

constexpr std::size_t head_size = 5;  ///< up to the block's name
constexpr std::size_t run_size = 16;

void append(std::vector<std::byte>& out, std::uint64_t number, std::size_t size) {
    for (std::size_t i = size; i-- > 0;)
        out.push_back(static_cast<std::byte>(number >> (8 * i)));
}

std::uint64_t number_in(std::span<const std::byte> bytes) {
    std::uint64_t number = 0;
    for (const std::byte byte : bytes)
        number = number << 8 | std::to_integer<std::uint64_t>(byte);
    return number;
}

}  // namespace

std::vector<std::byte> encode(const ZeroRuns& zeros) {
    std::vector<std::byte> out;
    out.reserve(head_size + zeros.block.size() + zeros.runs.size() * run_size);
    append(out, zeros.ram_section, 4);
    append(out, zeros.block.size(), 1);
    for (const char c : zeros.block)
        out.push_back(static_cast<std::byte>(c));
    for (const ledger::PageRun& run : zeros.runs) {
        append(out, run.first, 8);
        append(out, run.count, 8);
    }
    return out;
}

Result<ZeroRuns> decode_zero_runs(std::span<const std::byte> frame) {
    const std::size_t name = frame.size() < head_size ? 0 : number_in(frame.subspan(4, 1));
    if (name == 0 || frame.size() < head_size + name)
        return fail(ErrorKind::protocol, "a frame of zero pages does not name its RAM block");
    ZeroRuns zeros{.ram_section = static_cast<std::uint32_t>(number_in(frame.first(4))),
                   .block = {reinterpret_cast<const char*>(frame.data()) + head_size, name},
                   .runs = {}};
    auto rest = frame.subspan(head_size + name);
    if (rest.empty() || rest.size() % run_size != 0)
        return fail(ErrorKind::protocol,
                    "expected whole runs of {} bytes in a frame of zero pages, found {} bytes",
                    run_size, rest.size());
    for (; !rest.empty(); rest = rest.subspan(run_size)) {
        zeros.runs.push_back({number_in(rest.first(8)), number_in(rest.subspan(8, 8))});
        if (zeros.runs.back().count == 0)
            return fail(ErrorKind::protocol, "a run of no zero pages at page {}",
                        zeros.runs.back().first);
    }
    return zeros;
}

}  // namespace gc::peer
