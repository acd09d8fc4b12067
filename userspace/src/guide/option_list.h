// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's option syntaxes: "a=b,c=d" with doubled commas (util/qemu-option.c, util/keyval.c) and
// JSON.
#pragma once

#include "util/error.h"

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gc::guide {

/// The value of one QEMU option: keys and values in order, including repeated keys.
class OptionList {
  public:
    using Entry = std::pair<std::string, std::string>;

    /// "key=value,flag,nokey=..." or a JSON object, whose members become dotted keys ("fds.0").
    /// @param implied_key the key of a first part without one, e.g. "driver" for -device
    /// Errors: usage (malformed JSON)
    static Result<OptionList> parse(std::string_view text, std::string_view implied_key = {});

    /// The last value of a key, which QEMU uses; empty if the key is missing.
    [[nodiscard]] std::string get(std::string_view key) const;
    [[nodiscard]] bool has(std::string_view key) const;
    /// "on", "yes", "true", "y", or the key alone: QEMU 7.2 accepts all of them.
    [[nodiscard]] bool is_on(std::string_view key) const;
    void set(std::string_view key, std::string_view value);
    void remove(std::string_view key);
    /// Removes the key and all keys below it ("file" also removes "file.filename").
    void remove_tree(std::string_view key);

    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
    /// The keyval text. The first entry is printed without its key if that is the implied one.
    [[nodiscard]] std::string print(std::string_view implied_key = {}) const;

  private:
    std::vector<Entry> entries_;
};

/// Doubles the commas of a value.
std::string escape_commas(std::string_view value);

/// A nested object from JSON, or from keyval text with dotted keys ("file.driver=file").
Result<nlohmann::json> parse_nested(std::string_view text, std::string_view implied_key = {});

}  // namespace gc::guide
