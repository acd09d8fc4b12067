// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

namespace gc::transfer {

/// A page of the guest. The index of a RAM block in the ledger is its id in all of transfer/; names
/// are looked up once, when the source announces its blocks.
struct PageRef {
    std::size_t block;
    std::uint64_t number;
    bool operator==(const PageRef&) const = default;
};

}  // namespace gc::transfer
