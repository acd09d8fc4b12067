// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

namespace gc::guide {

/// docs/reference/guide-options.md, made of the tables by which a guide's command line is derived.
[[nodiscard]] std::string options_page();

}  // namespace gc::guide
