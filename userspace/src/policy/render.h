// SPDX-License-Identifier: GPL-2.0-or-later
// Renders a policy's state as text and as JSON.
#pragma once

#include "policy/attachment.h"

#include <chrono>
#include <nlohmann/json_fwd.hpp>

namespace gc::policy {

/// One or two readings; two yield rates.
struct Reading {
    Status now;
    std::optional<Counters> before;
    std::chrono::duration<double> interval{0};

    /// Bytes per second of a class or of GC_TENANTS between the readings, or nullopt with only one.
    [[nodiscard]] std::optional<double> rate(unsigned index) const;
    /// The rate that the program allowed a paced class at its last packet, or nullopt if it has
    /// sent none or the program does not report rates.
    [[nodiscard]] std::optional<double> allowance(unsigned index) const;
};

/// The name of the class, or "tenants".
std::string row_name(unsigned index);

/// A heading, and one line for each class and for tenants.
std::string render_text(const Reading& reading);
nlohmann::json render_json(const Reading& reading);

}  // namespace gc::policy
