// SPDX-License-Identifier: GPL-2.0-or-later
// What a plan is made of, as the libvirts of all hosts tell it.
#pragma once

#include "evacuate/options.h"

namespace gc::evacuate {

/// The namespace of the element in a domain's <metadata> that has its priority.
inline constexpr std::string_view metadata_namespace = "urn:guidecopy:evacuate";

struct Found {
    Facts facts;
    /// Named by the user, and not here any more: they run at a destination.
    std::vector<std::string> moved_before;
    std::vector<std::string> warnings;
};

/// Errors: unsupported, if a libvirt does not answer or a domain that was named is nowhere.
Result<Found> find_facts(const Options& options);

}  // namespace gc::evacuate
