// SPDX-License-Identifier: GPL-2.0-or-later
// A traffic policy as users write it, and as the kernel takes it. docs/policy.md tells what each
// value means.
#pragma once

#include "gc_policy.h"
#include "util/error.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gc::policy {

/// Bytes per second, or a share of the link.
struct Rate {
    bool of_link = false;
    std::uint64_t bytes = 0;  ///< per second, unless it is
    double share = 0;         ///< 0 to 1, if it is
    /// @param link bytes per second
    [[nodiscard]] std::uint64_t on(std::uint64_t link) const;
    bool operator==(const Rate&) const = default;
};

struct ClassPolicy {
    bool paced = true;
    std::uint32_t weight = 1;
    Rate floor{.of_link = true, .bytes = 0, .share = 0.005};
    Rate cap{.of_link = true, .bytes = 0, .share = 1};
    std::optional<std::uint8_t> dscp;  ///< none: left as it is
    bool operator==(const ClassPolicy&) const = default;
};

struct Policy {
    std::string name;                   ///< "silent", "fast", or the file's name
    std::optional<std::uint64_t> link;  ///< bytes per second; none: what the NIC says
    Rate use{.of_link = true, .bytes = 0, .share = 0.95};  ///< of tenants and migrations together
    std::uint32_t mark = 0x67630000;
    std::chrono::nanoseconds horizon = std::chrono::milliseconds(500);
    bool yield = true;
    std::chrono::nanoseconds window = std::chrono::milliseconds(1);
    std::chrono::nanoseconds decay = std::chrono::milliseconds(100);
    double headroom = 0.25;  ///< of the tenants' rate
    std::array<ClassPolicy, GC_CLASSES> classes;

    /// One that comes with gcctl. Errors: usage, naming those that there are.
    static Result<Policy> named(std::string_view name);
    /// Errors: usage, "FILE:LINE: ...", also if it cannot be read.
    static Result<Policy> load(const std::string& path);
    /// A name if it is one, else a file. Errors: of both.
    static Result<Policy> find(const std::string& name_or_path);

    /// Sets one value, as `gcctl policy set` takes it: "class.background.cap=50mbit". Errors:
    /// usage; then nothing has changed.
    Result<void> set(std::string_view assignment);

    /// Whether the values go together. Errors: usage.
    [[nodiscard]] Result<void> check() const;

    /// For a NIC of this many bytes per second. Errors: usage (a class' floor is above its cap
    /// there, ...).
    [[nodiscard]] Result<gc_policy_config> config(std::uint64_t link) const;
};

/// "urgent", ... Of GC_CLASSES there are.
[[nodiscard]] std::string_view class_name(unsigned index);

}  // namespace gc::policy
