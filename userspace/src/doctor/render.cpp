// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/checks.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::doctor {

namespace {

std::string_view mark(Verdict verdict) {
    switch (verdict) {
    case Verdict::ok:
        return "ok";
    case Verdict::warning:
        return "warning";
    case Verdict::lacking:
        break;
    }
    return "lacking";
}

}  // namespace

std::string render_text(const std::vector<Check>& checks) {
    std::string text;
    for (const Check& check : checks) {
        text += fmt::format("{:<8} {:<19} {}\n", mark(check.verdict), check.name, check.found);
        if (!check.remedy.empty())
            text += fmt::format("{:<28} -> {}\n", "", check.remedy);
    }
    const auto lacking = std::count_if(checks.begin(), checks.end(), [](const Check& check) {
        return check.verdict == Verdict::lacking;
    });
    text += lacking == 0
                ? std::string("\nReady.\n")
                : fmt::format("\nNot ready: {} of {} checks failed.\n", lacking, checks.size());
    return text;
}

nlohmann::json render_json(const std::vector<Check>& checks) {
    auto list = nlohmann::json::array();
    for (const Check& check : checks)
        list.push_back({{"name", check.name},
                        {"verdict", mark(check.verdict)},
                        {"found", check.found},
                        {"remedy", check.remedy}});
    return {{"ready", ready(checks)}, {"checks", std::move(list)}};
}

}  // namespace gc::doctor
