// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/source.h"

#include "recover/sending.h"
#include "recover/take_over.h"
#include "util/guarded.h"
#include "util/poll.h"
#include "util/signals.h"

#include <array>
#include <csignal>
#include <future>
#include <nlohmann/json.hpp>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;

constexpr auto retry_interval = 1s;
/// For ssh to log in, which may mean that the user types a password.
constexpr auto ssh_timeout = 120s;
/// The first of many failures is worth a line.
constexpr auto repeat_warning = 30s;

class SourceRecovery {
  public:
    SourceRecovery(const Options& options, Signals signals, FrozenSource source)
        : options_(options), signals_(std::move(signals)), source_(std::move(source)),
          there_(options.ssh ? options.ssh->target.login : options.address.str()),
          address_(options.address) {}

    Result<void> run() {
        GC_TRY(taken_, take_over(state::Role::source, source_.process(), options_,
                                 fmt::format("the VM was not handed over: 'gcctl take-back --qmp "
                                             "{}' lets it run here",
                                             options_.qmp)));
        options_.voice.say(
            "recovering", fmt::format("the VM is frozen here; sending what it lacks to {}", there_),
            {{"id", taken_.id()}});
        for (;;) {
            auto done = attempt();
            if (done)
                break;
            if (done.error().kind != ErrorKind::io)
                return again(done.error());
            warn(done.error());
            GC_CHECK(pause());
        }
        return finish();
    }

  private:
    Result<peer::Security> find_destination(std::optional<migrate::RemoteReceive>& remote) {
        if (!options_.ssh)
            return peer::secure(options_.security, tls::Role::client, options_.address);
        auto started = migrate::RemoteReceive::start(*options_.ssh, ssh_timeout);
        if (!started) {
            // The one before may not have ended yet, if the network had broken.
            Error error = started.error();
            if (was_there_)
                error.kind = ErrorKind::io;
            return Unexpected(std::move(error));
        }
        was_there_ = true;
        remote.emplace(std::move(*started));
        address_ = remote->listens_at();
        return peer::Security{peer::Protection::tls, remote->credentials()};
    }

    Result<void> attempt() {
        std::optional<migrate::RemoteReceive> remote;
        GC_TRY(const peer::Security security, find_destination(remote));
        const Deadline deadline(options_.connect_timeout);
        GC_TRY(UniqueFd fd, tcp_connect(address_, deadline));
        peer::Connection connection;
        if (security.credentials) {
            GC_TRY(tls::Session session,
                   tls::Session::client(fd.get(), *security.credentials, address_.host, deadline));
            connection = peer::Connection(std::move(fd), std::move(session));
        } else {
            connection = peer::Connection(std::move(fd));
        }
        Link link(std::move(connection));
        Sending sending(source_, link, options_);
        auto running = std::async(
            std::launch::async, [&] { return guarded([&] { return sending.run(taken_.id()); }); });
        while (running.wait_for(0s) != std::future_status::ready) {
            std::array<pollfd, 1> waits{{{signals_.fd(), POLLIN, 0}}};
            (void)poll_until(waits, 20ms);
            if (const auto signal = signals_.take(); signal && *signal != SIGUSR1) {
                sending.stop();
                (void)running.get();
                return fail(ErrorKind::cancelled, "interrupted");
            }
        }
        sent_ += sending.sent();
        return running.get();
    }

    void warn(const Error& error) {
        const auto now = Deadline::Clock::now();
        if (now < quiet_until_)
            return;
        quiet_until_ = now + repeat_warning;
        options_.voice.warn(fmt::format(
            "no connection to {}: {}; trying again. 'gcctl recover receive' must run there, which "
            "also tells whether the VM is complete",
            there_, error.message));
    }

    Result<void> pause() {
        std::array<pollfd, 1> waits{{{signals_.fd(), POLLIN, 0}}};
        (void)poll_until(waits, retry_interval);
        const auto signal = signals_.take();
        return signal && *signal != SIGUSR1 ? again({ErrorKind::cancelled, "interrupted"})
                                            : Result<void>{};
    }

    Result<void> again(Error error) const {
        error.kind = ErrorKind::needs_operator;
        error.message +=
            source_.process().alive()
                ? "; nothing is lost: run the same command again. Do not end the source QEMU"
                : "; the source QEMU has ended, and pages that were in its memory only are lost";
        return Unexpected(std::move(error));
    }

    Result<void> finish() {
        if (auto ended = options_.kill_source ? source_.kill() : source_.end(); !ended)
            options_.voice.warn(
                fmt::format("the VM is at the destination, but the source QEMU did not end its "
                            "migration: {}; quit the source QEMU",
                            ended.error().message));
        state::finish(taken_.journal);
        options_.voice.say("completed",
                           fmt::format("completed: the whole VM is at the destination; {} pages "
                                       "were sent",
                                       sent_),
                           {{"pages", sent_}});
        return {};
    }

    const Options& options_;
    Signals signals_;
    FrozenSource source_;
    std::string there_;       ///< the destination's host, for people
    Endpoint address_;        ///< where its gcctl listens
    bool was_there_ = false;  ///< with ssh: it could be started
    TakenOver taken_;
    std::uint64_t sent_ = 0;
    Deadline::Clock::time_point quiet_until_{};
};

}  // namespace

Result<void> recover_source(const Options& options) {
    GC_TRY(Signals signals, Signals::block());
    GC_TRY(FrozenSource source, FrozenSource::open(options.qmp));
    SourceRecovery recovery(options, std::move(signals), std::move(source));
    return recovery.run();
}

}  // namespace gc::recover
