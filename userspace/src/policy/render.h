// SPDX-License-Identifier: GPL-2.0-or-later
// A policy's state as text and as JSON.
#pragma once

#include "policy/attachment.h"

#include <chrono>
#include <nlohmann/json_fwd.hpp>

namespace gc::policy {

/// Two readings make rates.
struct Reading {
    Status now;
    std::optional<Counters> before;
    std::chrono::duration<double> between{0};

    /// Bytes per second of a class or GC_TENANTS between the readings; none if there is only one.
    [[nodiscard]] std::optional<double> rate(unsigned index) const;
    /// What a paced class may send, as the program decided when a packet of one came last; none if
    /// none has come yet, or the program does not tell.
    [[nodiscard]] std::optional<double> allowance(unsigned index) const;
};

/// Of the class, or "tenants".
std::string row_name(unsigned index);

/// A heading, and one line for each class and for tenants.
std::string render_text(const Reading& reading);
nlohmann::json render_json(const Reading& reading);

}  // namespace gc::policy
