// SPDX-License-Identifier: GPL-2.0-or-later
// A traffic policy in the user's and in the kernel's form. docs/reference/policy-file.md explains
// the values.
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
    std::uint64_t bytes = 0;  ///< per second; used if of_link is not set
    double share = 0;         ///< 0 to 1; used if of_link is set
    /// The rate in bytes per second.
    [[nodiscard]] std::uint64_t on(std::uint64_t link_bytes_per_s) const;
    bool operator==(const Rate&) const = default;
};

struct ClassPolicy {
    bool paced = true;
    std::uint32_t weight = 1;
    Rate floor{.of_link = true, .bytes = 0, .share = 0.005};
    Rate cap{.of_link = true, .bytes = 0, .share = 1};
    std::optional<std::uint8_t> dscp;  ///< keeps the packet's DSCP if not set
    bool operator==(const ClassPolicy&) const = default;
};

struct Policy {
    std::string name;                                      ///< "silent", "fast", or the file's name
    std::optional<std::uint64_t> link_bytes_per_s;         ///< the NIC's speed if not set
    Rate use{.of_link = true, .bytes = 0, .share = 0.95};  ///< by tenants and migrations together
    std::uint32_t mark = 0x67630000;
    std::chrono::nanoseconds horizon = std::chrono::milliseconds(500);
    bool yield = true;
    std::chrono::nanoseconds window = std::chrono::milliseconds(1);
    std::chrono::nanoseconds decay = std::chrono::milliseconds(100);
    double headroom = 0.25;  ///< relative to the tenants' rate
    std::array<ClassPolicy, GC_CLASSES> classes;

    /// A policy that comes with gcctl. Errors: usage; the message lists the policies.
    static Result<Policy> named(std::string_view name);
    /// Reads a policy file. Errors: usage, "FILE:LINE: ...", also if it cannot be read.
    static Result<Policy> load(const std::string& path);
    /// The policy of this name, or else in this file. Errors: those of both.
    static Result<Policy> find(const std::string& name_or_path);

    /// Sets one value in the form of `gcctl policy set`: "class.background.cap=50mbit". Errors:
    /// usage; nothing has changed then.
    Result<void> set(std::string_view assignment);

    /// Checks that the values are consistent. Errors: usage.
    [[nodiscard]] Result<void> check() const;

    /// The kernel's configuration for a NIC of this rate. Errors: usage, e.g. if
    /// the floor of a class is above its cap on this NIC.
    [[nodiscard]] Result<gc_policy_config> config(std::uint64_t nic_bytes_per_s) const;
};

/// "urgent", ... @param index below GC_CLASSES
[[nodiscard]] std::string_view class_name(unsigned index);

}  // namespace gc::policy
