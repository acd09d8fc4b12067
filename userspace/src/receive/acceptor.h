// SPDX-License-Identifier: GPL-2.0-or-later
// Greets whoever connects to the port of `gcctl receive`, several at a time, so that a silent, slow
// or hostile peer never delays another one.
#pragma once

#include "peer/connection.h"
#include "peer/hello.h"
#include "util/deadline.h"
#include "util/mailbox.h"

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace gc::receive {

/// A connection whose hello was read.
struct Arrival {
    peer::Connection connection;
    peer::Hello hello;
    std::string from;  ///< its address
};

class Acceptor {
  public:
    /// Turns an accepted socket into a connection, by a TLS handshake for example. Runs in a thread
    /// of its own.
    using Secure = std::function<Result<peer::Connection>(UniqueFd fd, Deadline deadline)>;

    /// Takes an arrival at once, for a migration that goes on. Runs in the thread of the greeting.
    /// @return the arrival, if it is for take()
    using Admit = std::function<std::optional<Arrival>(Arrival arrival)>;

    /// Greetings at the same time. One more ends the oldest: a genuine source takes milliseconds.
    static constexpr std::size_t max_greetings = 64;

    /// @param greet_within time for the handshake and the hello of one connection
    /// Errors: io.
    static Result<std::unique_ptr<Acceptor>> start(UniqueFd listener, Secure secure, Admit admit,
                                                   std::chrono::milliseconds greet_within);
    /// Ends all greetings.
    ~Acceptor();
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    /// Readable while arrivals wait.
    [[nodiscard]] int fd() const { return arrivals_.fd(); }
    std::optional<Arrival> take() { return arrivals_.take(); }
    /// Connections that were rejected so far. Some of the first are named on standard error.
    [[nodiscard]] std::uint64_t rejected() const { return rejected_; }

  private:
    struct Greeting {
        UniqueFd watched;  ///< a duplicate of the socket, to end the greeting from outside
        std::string from;
        std::atomic<bool> done = false;
        std::thread thread;
    };

    Acceptor(UniqueFd listener, Secure secure, Admit admit, std::chrono::milliseconds greet_within,
             Waker stop, Waker arrivals)
        : listener_(std::move(listener)), secure_(std::move(secure)), admit_(std::move(admit)),
          greet_within_(greet_within), stop_(std::move(stop)), arrivals_(std::move(arrivals)) {}

    void run();
    Result<void> accept();
    void greet(Greeting& greeting, UniqueFd fd);
    Result<Arrival> arrival_of(UniqueFd fd, std::string from);
    void reject(const std::string& from, std::string_view reason);
    void reap();

    UniqueFd listener_;
    Secure secure_;
    Admit admit_;
    std::chrono::milliseconds greet_within_;
    Waker stop_;
    Mailbox<Arrival> arrivals_;
    std::list<Greeting> greetings_;  ///< of the accepting thread
    std::atomic<std::uint64_t> rejected_ = 0;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

}  // namespace gc::receive
