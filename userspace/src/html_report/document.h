// SPDX-License-Identifier: GPL-2.0-or-later
// The page: one self-contained HTML file.
#pragma once

#include "html_report/form.h"

#include <string>

namespace gc::html_report {

/// Makes the page from the result of read_input(). Its script creates tables and charts when the
/// page is opened. The same input gives the same page.
std::string make_page(const Json& input);

}  // namespace gc::html_report
