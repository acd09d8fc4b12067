// SPDX-License-Identifier: GPL-2.0-or-later
// How `gcctl recover` tells what it does: a line of text, or an event as JSON.
#pragma once

#include "util/print.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace gc::recover {

struct Voice {
    bool json = false;
    bool quiet = false;

    void say(std::string_view event, std::string_view text,
             nlohmann::json fields = nlohmann::json::object()) const {
        fields["event"] = event;
        if (json)
            print_best_effort(
                stdout, "{}\n",
                fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
        else if (!quiet)
            print_best_effort(stdout, "{}\n", text);
    }
    void warn(std::string_view text) const {
        if (json)
            say("warning", text, {{"text", text}});
        else
            print_best_effort(stderr, "gcctl: warning: {}\n", text);
    }
};

}  // namespace gc::recover
