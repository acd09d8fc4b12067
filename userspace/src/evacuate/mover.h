// SPDX-License-Identifier: GPL-2.0-or-later
// One VM on its way: a `gcctl migrate` in a process of its own, whose end, however it comes, ends
// no other migration.
#pragma once

#include "evacuate/options.h"
#include "evacuate/outcome.h"
#include "util/child_process.h"
#include "util/read_buffer.h"

#include <functional>
#include <nlohmann/json_fwd.hpp>

namespace gc::evacuate {

/// The command line, without the program's name.
[[nodiscard]] std::vector<std::string> migrate_arguments(const Options& options, const Vm& vm,
                                                         const Host& host, const Endpoint& to,
                                                         std::uint64_t bandwidth,
                                                         const std::string& report);

class Mover {
  public:
    /// What it prints. @param event one of `gcctl migrate --json`
    struct Listener {
        std::function<void(nlohmann::json event)> on_event;
        std::function<void(std::string_view line)> on_error;
    };

    /// Runs this program. Errors: io.
    static Result<Mover> start(const std::vector<std::string>& arguments, std::string report,
                               Listener listener);

    /// To be polled: process, standard output, standard error; -1 for a stream that has ended.
    [[nodiscard]] std::array<int, 3> fds() const;
    /// Reads what is there. @return whether all is over
    bool advance();
    void signal(int number) const { process_.signal(number); }
    /// Once it is over: fills in what the migration's report says. Only once.
    /// @return the exit status
    int finish(VmOutcome& outcome);

  private:
    Mover(ChildProcess process, UniqueFd output, UniqueFd errors, std::string report,
          Listener listener)
        : process_(std::move(process)), output_{std::move(output), {}}, errors_{std::move(errors),
                                                                                {}},
          report_(std::move(report)), listener_(std::move(listener)) {}

    struct Stream {
        UniqueFd fd;
        ReadBuffer buffer;
    };
    template <typename Use> static void drain(Stream& stream, Use use);
    void on_output(std::string_view line);
    void on_error(std::string_view line);

    ChildProcess process_;
    Stream output_, errors_;
    std::string report_;  ///< file
    Listener listener_;
    std::string last_error_;
};

}  // namespace gc::evacuate
