// SPDX-License-Identifier: GPL-2.0-or-later
// The expected form of a JSON document, as a tree of checks.
#pragma once

#include "util/error.h"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace gc::html_report {

/// Keeps the order of the file.
using Json = nlohmann::ordered_json;

/// Checks a value. @param place of the value, e.g. "rows[3].median"; empty for the document itself
/// Errors: protocol ("PLACE: expected ..., found ...")
using Form = std::function<Result<void>(const Json& value, const std::string& place)>;

Form text();
Form flag();
Form number();
Form positive();  ///< a number above 0
Form count();     ///< an integer, not negative
/// null, or a value of that form.
Form maybe(Form form);
Form list(Form of);
/// A list of exactly `size` values.
Form list(std::size_t size, Form of);

using Members = std::vector<std::pair<std::string, Form>>;
/// An object with all `required` members. `optional` members are checked if present; others are
/// ignored, because a later gcctl may write more.
Form object(Members required, Members optional = {});
/// An object with members of any names, all of that form.
Form map(Form of);

}  // namespace gc::html_report
