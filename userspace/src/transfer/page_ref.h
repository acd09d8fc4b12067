// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>

namespace gc::transfer {

/// A page of the guest: the ledger's index of its RAM block, and its number in it.
struct PageRef {
    std::size_t block;
    std::uint64_t number;
    bool operator==(const PageRef&) const = default;
};

}  // namespace gc::transfer
