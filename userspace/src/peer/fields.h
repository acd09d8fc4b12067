// SPDX-License-Identifier: GPL-2.0-or-later
// Reads and writes the members of a JSON object that came from, or goes to, the other gcctl.
//
// Each message is described once, by a function template that calls field(name, member[, Need]) for
// each of its members: with a FieldWriter it writes them, with a FieldReader it reads them.
#pragma once

#include "util/error.h"
#include "util/hex.h"
#include "util/text.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace gc::peer {

using Json = nlohmann::ordered_json;

enum class Need : std::uint8_t {
    always,
    later,  ///< newer than the oldest protocol that this gcctl speaks
};

/// Parses a line. Never throws. Errors: protocol.
[[nodiscard]] inline Result<Json> parse_object(std::string_view line) {
    // The content types of a TLS alert and of a handshake (RFC 8446, section 5.1).
    if (line.starts_with('\x15') || line.starts_with('\x16'))
        return fail(ErrorKind::protocol, "expected a line of JSON from the other gcctl, found TLS; "
                                         "give both ends --tls-creds or --tls-psk, or both "
                                         "--insecure");
    Json object = Json::parse(line, nullptr, false);
    if (!object.is_object())
        return fail(ErrorKind::protocol,
                    "expected a line of JSON from the other gcctl, found '{}'; is it a gcctl?",
                    printable(line, 60));
    return object;
}

class FieldWriter {
  public:
    explicit FieldWriter(Json& object) : object_(object) {}

    template <typename T>
    void operator()(const char* name, const T& value, Need /*need*/ = Need::always) {
        write(name, value);
    }

  private:
    template <typename T> void write(const char* name, const T& value) { object_[name] = value; }
    void write(const char* name, const std::chrono::milliseconds& value) {
        object_[name] = value.count();
    }
    template <std::size_t size>
    void write(const char* name, const std::array<std::byte, size>& value) {
        object_[name] = hex(value);
    }
    template <typename T> void write(const char* name, const std::optional<T>& value) {
        if (value)
            write(name, *value);
    }

    Json& object_;
};

/// Stops at the first member that is wrong.
class FieldReader {
  public:
    /// @param what names the message in errors
    FieldReader(const Json& object, std::string_view what) : object_(object), what_(what) {}

    template <typename T> void operator()(const char* name, T& value, Need need = Need::always) {
        if (!result)
            return;
        const auto found = object_.find(name);
        if (found == object_.end()) {
            if (need == Need::always && !is_optional(value))
                result = fail(ErrorKind::protocol, "expected \"{}\" in the other gcctl's {}", name,
                              what_);
            return;
        }
        if (!read(*found, value))
            result = fail(ErrorKind::protocol, "invalid \"{}\" in the other gcctl's {}: {}", name,
                          what_, printable(dump(*found), 60));
    }

    Result<void> result;

  private:
    static std::string dump(const Json& json) {
        return json.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    template <typename T> static bool is_optional(const T& /*value*/) { return false; }
    template <typename T> static bool is_optional(const std::optional<T>& /*value*/) {
        return true;
    }

    static bool read(const Json& json, bool& value) {
        if (!json.is_boolean())
            return false;
        value = json.get<bool>();
        return true;
    }
    static bool read(const Json& json, std::uint64_t& value) {
        if (!json.is_number_unsigned())
            return false;
        value = json.get<std::uint64_t>();
        return true;
    }
    static bool read(const Json& json, int& value) {
        std::uint64_t number = 0;
        if (!read(json, number) || number > std::numeric_limits<int>::max())
            return false;
        value = static_cast<int>(number);
        return true;
    }
    static bool read(const Json& json, double& value) {
        if (!json.is_number())
            return false;
        value = json.get<double>();
        return true;
    }
    static bool read(const Json& json, std::chrono::milliseconds& value) {
        int number = 0;
        if (!read(json, number))
            return false;
        value = std::chrono::milliseconds(number);
        return true;
    }
    /// Text for people: what is not printable is escaped.
    static bool read(const Json& json, std::string& value) {
        if (!json.is_string())
            return false;
        value = printable(json.get_ref<const std::string&>(), 4000);
        return true;
    }
    template <std::size_t size>
    static bool read(const Json& json, std::array<std::byte, size>& value) {
        if (!json.is_string())
            return false;
        const auto bytes = from_hex<size>(json.get_ref<const std::string&>());
        if (bytes)
            value = *bytes;
        return bytes.has_value();
    }
    template <typename T> static bool read(const Json& json, std::optional<T>& value) {
        return read(json, value.emplace());
    }

    const Json& object_;
    std::string_view what_;
};

}  // namespace gc::peer
