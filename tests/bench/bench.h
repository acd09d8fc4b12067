// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by the benchmarks: options, the settings under which they run, rows of results.
#pragma once

#include "util/error.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace gc::bench {

constexpr std::size_t page_size = 4096;

struct Options {
    std::size_t mib = 512;
    std::size_t repeats = 7;
    std::string only;  ///< a workload; empty: all that the benchmark has
    std::string out;
};

/// Disables the kernel's fault-around during its lifetime.
class NoFaultAround {
  public:
    static Result<NoFaultAround> set();
    NoFaultAround(NoFaultAround&& other) noexcept : before_(std::exchange(other.before_, {})) {}
    NoFaultAround& operator=(NoFaultAround&&) = delete;
    ~NoFaultAround();

  private:
    NoFaultAround() = default;
    std::string before_;
};

double median(std::vector<double> values);

/// One figure: median, spread and ratio to a reference.
/// @param reference 0 if there is none
nlohmann::json row(const std::string& workload, const std::string& mode, const char* metric,
                   const char* unit, const std::vector<double>& values, double reference);

/// Describes the machine.
nlohmann::json machine();

/// main() of a benchmark: runs it with the options of the command line, prints its rows and writes
/// its result.
int run(int argc, char** argv, const char* name,
        const std::function<Result<nlohmann::json>(const Options&)>& bench);

}  // namespace gc::bench
