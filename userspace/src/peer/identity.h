// SPDX-License-Identifier: GPL-2.0-or-later
// A name for a migration that may be shown, stored and typed.
#pragma once

#include "peer/hello.h"

#include <string>

namespace gc::peer {

/// 16 hexadecimal digits of the token's SHA-256. Both ends compute the same, and nobody learns the
/// token from it. Errors: io.
[[nodiscard]] Result<std::string> public_id(const Token& token);

}  // namespace gc::peer
