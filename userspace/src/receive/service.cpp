// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/service.h"

#include "options/arguments.h"
#include "receive/receiver.h"
#include "util/child_process.h"
#include "util/guarded.h"
#include "util/poll.h"
#include "util/print.h"
#include "util/signals.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <fcntl.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;

/// After a refusal by this host, which may be short: a libvirtd that is being restarted.
constexpr auto retry_interval = 5s;

int receive_one(const Options& options, int listener) {
    const Result<void> done = guarded([&]() -> Result<void> {
        UniqueFd own(::fcntl(listener, F_DUPFD_CLOEXEC, 0));
        return own ? Receiver::run(options, std::move(own)) : fail_errno(errno, "F_DUPFD_CLOEXEC");
    });
    const int status = done ? options::exit_done : options::complain("receive", done.error());
    std::fflush(stdout);
    return status;
}

bool is_end(int signal) {
    return signal != SIGUSR1;
}

/// Whether a signal to end has come, by the deadline.
bool told_to_end(const Signals& signals, Deadline deadline) {
    while (wait_readable(signals.fd(), deadline).value_or(false))
        while (const auto signal = signals.take())
            if (is_end(*signal))
                return true;
    return false;
}

struct Ended {
    int status = 0;
    bool told_to_end = false;
};

Ended await(ChildProcess& child, const Signals& signals) {
    Ended ended;
    std::array<pollfd, 2> waits{{{child.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    while (waits[0].revents == 0) {
        (void)poll_until(waits, Deadline::never());
        while (const auto signal = signals.take()) {
            ended.told_to_end |= is_end(*signal);
            child.signal(*signal);
        }
    }
    ended.status = child.wait();
    return ended;
}

Result<int> serve_at(const Options& options, const Signals& signals, const UniqueFd& listener) {
    for (bool first = true;; first = false) {
        GC_TRY(ChildProcess child,
               ChildProcess::fork([&] { return receive_one(options, listener.get()); }));
        const Ended ended = await(child, signals);
        if (ended.told_to_end)
            return ended.status == options::exit_cancelled ? options::exit_done : ended.status;
        const bool refused =
            ended.status == options::exit_refused || ended.status == options::exit_usage;
        if (first && refused)
            return ended.status;
        if (ended.status > 128 && ended.status != options::exit_cancelled)
            print_best_effort(stderr, "gcctl receive: signal {} ended the process of that VM\n",
                              ended.status - 128);
        if (refused && told_to_end(signals, retry_interval))
            return options::exit_done;
    }
}

}  // namespace

int serve(const Options& options) {
    const auto done = [&]() -> Result<int> {
        GC_TRY(const Signals signals, Signals::block());
        auto listener = tcp_listen(options.listen);
        if (!listener)
            return fail(ErrorKind::unsupported, "{}", listener.error().message);
        return serve_at(options, signals, *listener);
    }();
    return done ? *done : options::complain("receive", done.error());
}

}  // namespace gc::receive
