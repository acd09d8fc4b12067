// SPDX-License-Identifier: GPL-2.0-or-later
// Processes that attach, change or remove policies take turns.
#pragma once

#include "policy/pins.h"
#include "util/deadline.h"

#include <chrono>
#include <thread>

namespace gc::policy {

/// The maximum wait for another process that attaches or detaches, which takes a small part of
/// this.
constexpr std::chrono::milliseconds patience(10'000);

/// Repeats `attempt` until it returns a value other than nullopt. Errors: those of `attempt`; io,
/// on timeout.
template <typename T, typename Try>
Result<T> wait_for(const std::string& device, const Try& attempt) {
    constexpr std::chrono::milliseconds look_again(20);
    const Deadline deadline(patience);
    do {
        GC_TRY(auto got, attempt());
        if (got)
            return std::move(*got);
        std::this_thread::sleep_for(look_again);
    } while (!deadline.expired());
    return fail(ErrorKind::io,
                "{}: another gcctl has been attaching, changing or detaching a policy for {} s",
                device, patience.count() / 1000);
}

/// @return the lock; releasing it ends the turn
inline Result<UniqueFd> take_turn(const std::string& device) {
    return wait_for<UniqueFd>(device, [] { return Pins::try_turn(); });
}

}  // namespace gc::policy
