// SPDX-License-Identifier: GPL-2.0-or-later
// A file of metrics for the textfile collector of Prometheus' node_exporter.
#pragma once

#include "metrics/exposition.h"

#include <functional>

namespace gc::metrics {

/// Reads the file, if there is one, has it changed, and replaces it atomically; others that do the
/// same wait. Everybody may read it. What other programs have put there stays.
/// Errors: io; protocol, if it holds something else.
Result<void> update(const std::string& path, const std::function<void(Exposition&)>& change);

/// Finds a wrong path before anything is touched. Errors: unsupported.
Result<void> check(const std::string& path);

}  // namespace gc::metrics
