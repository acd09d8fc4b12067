// SPDX-License-Identifier: GPL-2.0-or-later
// The content of a frame of kind `zeros`: runs of pages that are zeros, which the destination
// places by itself. Since version 8 of the protocol.
//
//   content := u32 id of QEMU's section "ram", u8 n, name of the RAM block[n], run*
//   run     := u64 first page, u64 number of pages
//
// All numbers are big-endian. A run has at least one page, a frame at least one run.
#pragma once

#include "ledger/page_run.h"
#include "util/error.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gc::peer {

/// The maximum number of runs in one migration: it bounds the destination's memory.
inline constexpr std::size_t max_zero_runs = std::size_t{1} << 16;

struct ZeroRuns {
    std::uint32_t ram_section = 0;  ///< id of QEMU's section "ram" in this migration's stream
    std::string block;              ///< the RAM block's name: 1 to 255 bytes
    std::vector<ledger::PageRun> runs;
    bool operator==(const ZeroRuns&) const = default;
};

[[nodiscard]] std::vector<std::byte> encode(const ZeroRuns& zeros);
/// Errors: protocol. Neither the block nor the pages need exist.
[[nodiscard]] Result<ZeroRuns> decode_zero_runs(std::span<const std::byte> frame);

}  // namespace gc::peer
