// SPDX-License-Identifier: GPL-2.0-or-later
// The background's sweep through all of memory: data in address order, then zeros. Untouched pages
// are only counted, so a big VM costs no more than a small one.
#pragma once

#include "simulate/workload.h"

#include <algorithm>

namespace gc::simulate {

class Sweep {
  public:
    explicit Sweep(const Workload& workload) : workload_(workload) {
        data_left_ = workload.data_before(workload.pages.size());
        zeros_left_ = workload.untouched() - data_left_;
        gap_ = workload.data_before(0);
    }

    struct Piece {
        std::uint32_t first = 0, last = 0;  ///< range of Workload::pages; not all may be claimed
        std::uint64_t pages = 0;
    };
    /// The next pages of data, at most `max`. @param claim whether to send a page of
    /// Workload::pages; called once for each page
    template <typename Claim> Piece take_data(std::uint64_t max, Claim claim) {
        Piece piece{next_, next_, 0};
        while (piece.pages < max) {
            const std::uint64_t untouched = std::min(gap_, max - piece.pages);
            gap_ -= untouched;
            data_left_ -= untouched;
            piece.pages += untouched;
            if (gap_ > 0 || next_ == workload_.pages.size())
                break;
            if (piece.pages == max)
                break;
            piece.pages += claim(next_) ? 1 : 0;
            ++next_;
            gap_ = workload_.data_before(next_) - workload_.data_before(next_ - 1);
        }
        piece.last = next_;
        return piece;
    }
    std::uint64_t take_zeros(std::uint64_t max) {
        const std::uint64_t taken = std::min(max, zeros_left_);
        zeros_left_ -= taken;
        return taken;
    }

    /// Untouched pages left.
    [[nodiscard]] std::uint64_t data_left() const { return data_left_; }
    [[nodiscard]] std::uint64_t zeros_left() const { return zeros_left_; }

  private:
    const Workload& workload_;
    std::uint32_t next_ = 0;  ///< index in Workload::pages
    std::uint64_t gap_ = 0;   ///< pages of data left before that page
    std::uint64_t data_left_ = 0;
    std::uint64_t zeros_left_ = 0;
};

}  // namespace gc::simulate
