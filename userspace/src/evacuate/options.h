// SPDX-License-Identifier: GPL-2.0-or-later
// The options of `gcctl evacuate`.
#pragma once

#include "evacuate/plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gc::evacuate {

/// Where a `gcctl receive --connect` listens.
struct Destination {
    Endpoint to;
    std::string uri;  ///< of the libvirt there
};

struct Options {
    std::string connect;  ///< libvirt's URI
    std::vector<Destination> destinations;
    std::vector<std::string> domains;  ///< names or UUIDs; empty: all
    std::size_t parallel = 1;
    Order order = Order::gain;
    std::uint64_t budget = 0;  ///< bytes per second; 0: no limit
    bool allow_overcommit = false;
    bool dry_run = false;
    std::optional<std::string> report;        ///< file
    std::optional<std::string> reports;       ///< directory, for the report of each migration
    std::optional<std::string> metrics_file;  ///< for Prometheus
    bool json = false;
    bool quiet = false;
    std::vector<std::string> migrate;  ///< options for each `gcctl migrate`
};

}  // namespace gc::evacuate
