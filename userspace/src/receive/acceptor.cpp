// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/acceptor.h"

#include "util/guarded.h"
#include "util/poll.h"
#include "util/print.h"
#include "util/socket.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;

/// More would let a stranger fill the log.
constexpr std::uint64_t max_named_rejections = 20;

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::start(UniqueFd listener, Secure secure, Admit admit,
                                                  std::chrono::milliseconds greet_within) {
    GC_TRY(Waker stop, Waker::create());
    GC_TRY(Waker arrivals, Waker::create());
    std::unique_ptr<Acceptor> acceptor(new Acceptor(std::move(listener), std::move(secure),
                                                    std::move(admit), greet_within, std::move(stop),
                                                    std::move(arrivals)));
    acceptor->thread_ = std::thread([raw = acceptor.get()] { raw->run(); });
    return acceptor;
}

Acceptor::~Acceptor() {
    stopping_ = true;
    stop_.signal();
    thread_.join();
    for (Greeting& greeting : greetings_) {
        if (!greeting.done)
            ::shutdown(greeting.watched.get(), SHUT_RDWR);
        greeting.thread.join();
    }
}

void Acceptor::run() {
    while (!stopping_) {
        std::array<pollfd, 2> waits{{{listener_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}}};
        (void)poll_until(waits, 1s);
        reap();
        if (waits[0].revents == 0)
            continue;
        // Out of descriptors or memory, for example: the connection waits in the backlog.
        if (!guarded([this] { return accept(); }))
            (void)poll_until(std::span(waits).subspan(1), 100ms);
    }
}

Result<void> Acceptor::accept() {
    GC_TRY(AcceptedSocket accepted, accept_peer(listener_.get()));
    UniqueFd watched(::fcntl(accepted.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!watched)
        return fail_errno(errno, "fcntl F_DUPFD_CLOEXEC");
    if (greetings_.size() == max_greetings)
        ::shutdown(greetings_.front().watched.get(), SHUT_RDWR);
    while (greetings_.size() >= max_greetings) {
        std::this_thread::sleep_for(1ms);  // it ends: its socket was shut down
        reap();
    }
    Greeting& greeting = greetings_.emplace_back();
    greeting.watched = std::move(watched);
    greeting.from = std::move(accepted.from);
    greeting.thread = std::thread([this, &greeting, fd = std::move(accepted.fd)]() mutable {
        greet(greeting, std::move(fd));
    });
    return {};
}

void Acceptor::greet(Greeting& greeting, UniqueFd fd) {
    const Result<void> done = guarded([&]() -> Result<void> {
        GC_TRY(Arrival arrival, arrival_of(std::move(fd), greeting.from));
        auto rest = admit_(std::move(arrival));
        if (!rest)
            return {};
        greeting.done = true;  // from here on nobody may shut the socket down
        arrivals_.post(*std::move(rest));
        return {};
    });
    if (!done && !stopping_)
        reject(greeting.from, done.error().message);
    greeting.done = true;
}

Result<Arrival> Acceptor::arrival_of(UniqueFd fd, std::string from) {
    const Deadline deadline(greet_within_);
    GC_TRY(peer::Connection connection, secure_(std::move(fd), deadline));
    GC_TRY(const peer::Hello hello, peer::receive_hello(connection, deadline));
    return Arrival{std::move(connection), hello, std::move(from)};
}

void Acceptor::reject(const std::string& from, std::string_view reason) {
    const std::uint64_t count = ++rejected_;
    if (count <= max_named_rejections)
        print_best_effort(stderr, "gcctl: a connection from {} was rejected: {}{}\n", from, reason,
                          count == max_named_rejections ? "; more will not be named" : "");
}

void Acceptor::reap() {
    std::erase_if(greetings_, [](Greeting& greeting) {
        if (!greeting.done)
            return false;
        greeting.thread.join();
        return true;
    });
}

}  // namespace gc::receive
