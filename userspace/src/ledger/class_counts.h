// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "ledger/page_class.h"

#include <algorithm>
#include <functional>

namespace gc::ledger {

/// Counts of one thing, pages of 4 KiB or bytes, for each class that a page is sent in.
struct ClassCounts {
    std::uint64_t total = 0;  ///< of pages: the undelivered ones included
    PerClass<std::uint64_t> in;
    std::uint64_t zero = 0;  ///< sent as a zero marker; part of the count of their class

    void add(PageClass page_class, std::uint64_t count) {
        in[page_class] += count;
        total += count;
    }
    ClassCounts& operator+=(const ClassCounts& more) {
        total += more.total;
        std::ranges::transform(in, more.in, in.begin(), std::plus());
        zero += more.zero;
        return *this;
    }
    bool operator==(const ClassCounts&) const = default;
};

}  // namespace gc::ledger
