// SPDX-License-Identifier: GPL-2.0-or-later
// The page: one HTML file that needs nothing beside it.
#pragma once

#include "html_report/form.h"

#include <string>

namespace gc::html_report {

/// The page of what read_input() gave. Its tables and pictures are made by its script, when it is
/// opened; the same input gives the same page.
std::string make_page(const Json& input);

}  // namespace gc::html_report
