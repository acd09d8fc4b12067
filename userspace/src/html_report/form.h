// SPDX-License-Identifier: GPL-2.0-or-later
// The form that a JSON document must have, told as a tree of checks.
#pragma once

#include "util/error.h"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace gc::html_report {

/// In the order of its file.
using Json = nlohmann::ordered_json;

/// Whether a value has a form. @param place where it is, such as "rows[3].median"; empty: the whole
/// Errors: protocol, "PLACE: expected ..., and it is ..."
using Form = std::function<Result<void>(const Json& value, const std::string& place)>;

Form text();
Form flag();
Form number();
Form positive();  ///< a number above 0
Form count();     ///< a whole number, not negative
/// null, or of that form.
Form maybe(Form form);
Form list(Form of);
/// Of so many values.
Form list(std::size_t size, Form of);

using Members = std::vector<std::pair<std::string, Form>>;
/// An object with all of `required`; those of `optional` that it has must be of their forms. What
/// else it has is nobody's business: a later gcctl may write more.
Form object(Members required, Members optional = {});
/// An object whose members, of any names, all have that form.
Form map(Form of);

}  // namespace gc::html_report
