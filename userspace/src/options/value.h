// SPDX-License-Identifier: GPL-2.0-or-later
// Options whose value is more than text: numbers, sizes, times, rates, addresses.
#pragma once

#include "util/error.h"
#include "util/text.h"
#include "util/units.h"

#include <boost/any.hpp>
#include <boost/program_options.hpp>
#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace gc::options {

/// "--lead: invalid number '-1' (expected 1 to 4294967295)". Boost adds the option's name.
class InvalidValue : public boost::program_options::error_with_option_name {
  public:
    explicit InvalidValue(const Error& found)
        : error_with_option_name("%canonical_option%: %problem%") {
        set_substitute("problem", printable(found.message));
    }
};

/// See value().
template <typename T, typename Parse>
class Value : public boost::program_options::typed_value<std::string> {
  public:
    Value(T* target, Parse convert)
        : boost::program_options::typed_value<std::string>(nullptr), target_(target),
          convert_(std::move(convert)) {}

    void xparse(boost::any& store, const std::vector<std::string>& words) const override {
        typed_value::xparse(store, words);
        if (const auto value = convert_(boost::any_cast<const std::string&>(store)); !value)
            throw InvalidValue(value.error());
    }
    void notify(const boost::any& store) const override {
        if (auto value = convert_(boost::any_cast<const std::string&>(store)))
            *target_ = *std::move(value);
    }

  private:
    T* target_;
    Parse convert_;
};

/// An option's value, converted by `parse`, a function from text to a Result. A default is given as
/// text. An invalid value is an error of options::parse() that names the option.
template <typename T, typename Parse>
[[nodiscard]] boost::program_options::typed_value<std::string>* value(T* target, Parse parse) {
    // Boost owns it once it is added to an option.
    return new Value<T, Parse>(target, std::move(parse));
}

/// A whole number from `min` to `max`.
template <typename T>
[[nodiscard]] auto* number(T* target, T min = 0, T max = std::numeric_limits<T>::max()) {
    return value(target, [min, max](std::string_view text) -> Result<T> {
        GC_TRY(const std::uint64_t number, parse_number(text, min, max));
        return static_cast<T>(number);
    });
}

/// A time of at least `min`.
template <typename T> [[nodiscard]] auto* duration(T* target, std::chrono::milliseconds min) {
    return value(target, [min](std::string_view text) -> Result<std::chrono::milliseconds> {
        GC_TRY(const std::chrono::milliseconds time, parse_duration(text));
        if (time < min)
            return fail(ErrorKind::usage, "invalid duration '{}' (expected at least {}ms)", text,
                        min.count());
        return time;
    });
}

}  // namespace gc::options
