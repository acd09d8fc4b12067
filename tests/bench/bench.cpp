// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>
#include <thread>

namespace gc::bench {
namespace {

using nlohmann::json;

constexpr const char* fault_around_path = "/sys/kernel/debug/fault_around_bytes";

void print(const json& result) {
    const json& machine = result["machine"];
    fmt::print("on {}, {} CPUs, Linux {}, TCP {}\n", machine["cpu"].get<std::string>(),
               machine["cpus"].get<unsigned>(), machine["kernel"].get<std::string>(),
               machine["tcp"].get<std::string>());
    for (const json& row : result["rows"]) {
        const std::string ratio =
            row["ratio"].is_null() ? "" : fmt::format("  ratio {:.3f}", row["ratio"].get<double>());
        fmt::print("{:6} {:13} {:12} {:10.1f} {}{}\n", row["workload"].get<std::string>(),
                   row["mode"].get<std::string>(), row["metric"].get<std::string>(),
                   row["median"].get<double>(), row["unit"].get<std::string>(), ratio);
    }
}

Result<Options> parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view key = argv[i];
        const std::string_view value = argv[i + 1];
        std::size_t number = 0;
        std::from_chars(value.data(), value.data() + value.size(), number);
        if (key == "--out")
            options.out = value;
        else if (key == "--only")
            options.only = value;
        else if (key == "--mib" && number > 0)
            options.mib = number;
        else if (key == "--repeats" && number > 0)
            options.repeats = number;
        else
            return fail(ErrorKind::usage, "unknown or invalid option {} {}", key, value);
    }
    if (argc % 2 == 0)
        return fail(ErrorKind::usage,
                    "usage: [--mib 512] [--repeats 7] [--only WORKLOAD] [--out FILE]");
    return options;
}

}  // namespace

Result<NoFaultAround> NoFaultAround::set() {
    NoFaultAround setting;
    std::ifstream(fault_around_path) >> setting.before_;
    std::ofstream file(fault_around_path);
    file << page_size << std::flush;
    if (setting.before_.empty() || !file.good())
        return fail(ErrorKind::unsupported,
                    "cannot write {}: run as root with debugfs mounted; otherwise a plain mapping "
                    "takes one fault for 16 pages, and the comparison is meaningless",
                    fault_around_path);
    return setting;
}
NoFaultAround::~NoFaultAround() {
    if (!before_.empty())
        std::ofstream(fault_around_path) << before_ << std::flush;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

json row(const std::string& workload, const std::string& mode, const char* metric, const char* unit,
         const std::vector<double>& values, double reference) {
    json out{{"workload", workload},
             {"mode", mode},
             {"metric", metric},
             {"unit", unit},
             {"median", median(values)},
             {"min", *std::min_element(values.begin(), values.end())},
             {"max", *std::max_element(values.begin(), values.end())},
             {"n", values.size()},
             {"ratio", nullptr}};
    if (reference > 0)
        out["ratio"] = median(values) / reference;
    return out;
}

json machine() {
    utsname name{};
    ::uname(&name);
    std::string model = "unknown";
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);)
        if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
            model = line.substr(line.find(": ") + 2);
            break;
        }
    // It matters even on loopback: BBR paces, CUBIC does not.
    std::string congestion_control = "unknown";
    std::ifstream("/proc/sys/net/ipv4/tcp_congestion_control") >> congestion_control;
    return {{"cpu", model},
            {"tcp", congestion_control},
            {"cpus", std::thread::hardware_concurrency()},
            {"kernel", std::string(name.release)},
            {"virtual", model.find("QEMU") != std::string::npos ||
                            std::ifstream("/sys/class/dmi/id/sys_vendor").peek() == 'Q'}};
}

int run(int argc, char** argv, const char* name,
        const std::function<Result<json>(const Options&)>& bench) {
    const auto all = [&]() -> Result<void> {
        GC_TRY(const Options options, parse(argc, argv));
        GC_TRY(const json result, bench(options));
        print(result);
        if (!options.out.empty() && !(std::ofstream(options.out) << result.dump(2) << '\n'))
            return fail(ErrorKind::io, "cannot write {}", options.out);
        return {};
    };
    if (const auto done = all(); !done) {
        fmt::print(stderr, "{}: {}\n", name, done.error().message);
        return 1;
    }
    return 0;
}

}  // namespace gc::bench
