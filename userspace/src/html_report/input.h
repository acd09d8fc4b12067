// SPDX-License-Identifier: GPL-2.0-or-later
// What a page can be made of: the report of a migration, or the results of a benchmark.
#pragma once

#include "html_report/form.h"

#include <string_view>

namespace gc::html_report {

/// The document, of which everything that a page shows has been checked.
/// Known are "guidecopy.report/1" (`gcctl migrate --report`), "guidecopy.bench/1" (rows and runs),
/// and what has no schema but "bench" and "rows" (the other benchmarks).
/// Errors: protocol, in one line that says where and what to do.
Result<Json> read_input(std::string_view text);

}  // namespace gc::html_report
