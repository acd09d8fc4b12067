// SPDX-License-Identifier: GPL-2.0-or-later
// The input of a page: the report of a migration or the results of a benchmark.
#pragma once

#include "html_report/form.h"

#include <string_view>

namespace gc::html_report {

/// Parses the document and checks everything that a page shows. Known are "guidecopy.report/1"
/// (`gcctl migrate --report`), "guidecopy.bench/1" (rows and runs), and documents without a schema
/// but with "bench" and "rows" (the other benchmarks).
/// Errors: protocol, in one line with the place and what to do.
Result<Json> read_input(std::string_view text);

}  // namespace gc::html_report
