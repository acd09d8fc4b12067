// SPDX-License-Identifier: GPL-2.0-or-later
// Names of CPUID bits.
#pragma once

#include <string>
#include <string_view>

namespace gc::preflight {

/// What the first CPU has and the second has not, by name: "avx2 fma".
/// @param cpu, other as peer::VmFacts::cpu_features has them: "LEAF.SUBLEAF.REGISTER=BITS ...", in
/// hexadecimal. A bit without a name is "LEAF.SUBLEAF.REGISTER[BIT]".
[[nodiscard]] std::string features_missing(std::string_view cpu, std::string_view other);

}  // namespace gc::preflight
