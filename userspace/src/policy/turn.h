// SPDX-License-Identifier: GPL-2.0-or-later
// Who attaches, changes or removes policies does so one after the other.
#pragma once

#include "policy/pins.h"

#include <chrono>
#include <thread>

namespace gc::policy {

/// For somebody else's attach or detach, which takes a small part of it.
constexpr std::chrono::milliseconds patience(10'000);

/// Tries until it gives something that is not none. Errors: those of `attempt`; io: it took too
/// long.
template <typename T, typename Try>
Result<T> wait_for(const std::string& device, const Try& attempt) {
    constexpr std::chrono::milliseconds look_again(20);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    do {
        GC_TRY(auto got, attempt());
        if (got)
            return std::move(*got);
        std::this_thread::sleep_for(look_again);
    } while (std::chrono::steady_clock::now() < deadline);
    return fail(ErrorKind::io,
                "{}: another gcctl has been attaching, changing or detaching a policy for {} s",
                device, patience.count() / 1000);
}

/// @return the turn, which ends with it
inline Result<UniqueFd> take_turn(const std::string& device) {
    return wait_for<UniqueFd>(device, [] { return Pins::try_turn(); });
}

}  // namespace gc::policy
