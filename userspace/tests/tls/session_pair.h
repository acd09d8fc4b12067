// SPDX-License-Identifier: GPL-2.0-or-later
// Two ends of a TLS connection over loopback, and somebody in the middle.
#pragma once

#include "authority.h"
#include "tls/session.h"
#include "util/socket.h"

#include <functional>
#include <thread>
#include <vector>

namespace gc::tls {

struct Sockets {
    UniqueFd client, server;
};
Sockets tcp_pair();

/// Both ends, or the error of each. The sockets outlive the sessions.
struct SessionPair {
    Sockets sockets;
    Result<Session> client = fail(ErrorKind::io, "no handshake");
    Result<Session> server = fail(ErrorKind::io, "no handshake");
};

struct PairOptions {
    std::string host = "a.example";
    PskLookup lookup = {};
    SessionOptions client = {}, server = {};
    std::chrono::milliseconds timeout = std::chrono::seconds(20);
};

/// Performs both handshakes at the same time, over a new connection or one that is given.
SessionPair shake(const Credentials& client, const Credentials& server, PairOptions options = {});
SessionPair shake(Sockets sockets, const Credentials& client, const Credentials& server,
                  PairOptions options = {});

/// Forwards between two connections: what the client sends record by record, through `edit`.
class Middle {
  public:
    using Record = std::vector<std::byte>;
    using Records = std::vector<Record>;
    /// What to forward in the place of a record.
    using Edit = std::function<Records(Record)>;

    Middle();
    Middle(const Middle&) = delete;
    Middle& operator=(const Middle&) = delete;
    ~Middle();

    [[nodiscard]] Sockets take_ends() { return std::move(ends_); }
    /// For the records that follow; called by one thread.
    void set_edit(Edit edit);
    /// Ends the connection to the server without a TLS message.
    void cut();

  private:
    void forward_records();
    void forward_bytes();

    Sockets ends_;        ///< of the two who are deceived
    UniqueFd from_, to_;  ///< the middle's own
    std::mutex mutex_;
    Edit edit_;
    std::thread records_, bytes_;
};

/// Credentials of two hosts of one authority: the server is "a.example", the client "b.example".
struct Hosts {
    explicit Hosts(const std::string& authority_name = "Test CA");
    Authority authority;
    TemporaryDirectory directory;
    [[nodiscard]] Credentials server(std::vector<std::string> authz = {}) const;
    [[nodiscard]] Credentials client(std::string hostname = {}) const;
};

/// Whether this kernel encrypts; a failure where GC_REQUIRE_KERNEL_TLS says that it must.
bool can_test_kernel();

/// One instance for all tests: keys take time to make.
const Hosts& hosts();

}  // namespace gc::tls
