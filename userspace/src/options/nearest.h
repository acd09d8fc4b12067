// SPDX-License-Identifier: GPL-2.0-or-later
// "did you mean": the known word that is nearest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gc::options {

/// The word of `known` with the least edits (insert, delete, replace, swap of neighbours), if these
/// are at most a third of it, or the only one that begins with `word`. Empty if there is none.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> known);

/// "; did you mean 'WORD'?" or nothing.
[[nodiscard]] std::string suggestion(std::string_view word, std::span<const std::string> known);

}  // namespace gc::options
