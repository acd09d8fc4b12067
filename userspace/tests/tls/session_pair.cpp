// SPDX-License-Identifier: GPL-2.0-or-later
#include "session_pair.h"

#include "tls/kernel_tls.h"

#include <array>
#include <cstdlib>
#include <future>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace gc::tls {

using namespace std::chrono_literals;

Sockets tcp_pair() {
    const UniqueFd listener = tcp_listen({"127.0.0.1", "0"}).value();
    const auto port = local_port(listener.get()).value();
    UniqueFd client = tcp_connect({"127.0.0.1", std::to_string(port)}, 5s).value();
    return {std::move(client), accept_one(listener.get(), 5s).value()};
}

SessionPair shake(const Credentials& client, const Credentials& server, PairOptions options) {
    return shake(tcp_pair(), client, server, std::move(options));
}

SessionPair shake(Sockets sockets, const Credentials& client, const Credentials& server,
                  PairOptions options) {
    SessionPair pair{std::move(sockets)};
    auto serving = std::async(std::launch::async, [&] {
        return Session::server(pair.sockets.server.get(), server, options.lookup, options.timeout,
                               options.server);
    });
    pair.client = Session::client(pair.sockets.client.get(), client, options.host, options.timeout,
                                  options.client);
    pair.server = serving.get();
    return pair;
}

Middle::Middle() {
    Sockets near = tcp_pair(), far = tcp_pair();
    ends_.client = std::move(near.client);
    from_ = std::move(near.server);
    to_ = std::move(far.client);
    ends_.server = std::move(far.server);
    records_ = std::thread([this] { forward_records(); });
    bytes_ = std::thread([this] { forward_bytes(); });
}

Middle::~Middle() {
    ::shutdown(from_.get(), SHUT_RDWR);
    ::shutdown(to_.get(), SHUT_RDWR);
    records_.join();
    bytes_.join();
}

void Middle::set_edit(Edit edit) {
    const std::lock_guard lock(mutex_);
    edit_ = std::move(edit);
}

void Middle::cut() {
    ::shutdown(to_.get(), SHUT_RDWR);
}

void Middle::forward_records() {
    for (;;) {
        constexpr std::size_t header = 5;
        Record record(header);
        if (!read_whole(from_.get(), record).value_or(false))
            break;
        const auto length =
            std::to_integer<std::size_t>(record[3]) << 8 | std::to_integer<std::size_t>(record[4]);
        record.resize(header + length);
        if (!read_whole(from_.get(), std::span(record).subspan(header)).value_or(false))
            break;
        Records forwarded;
        {
            const std::lock_guard lock(mutex_);
            if (edit_)
                forwarded = edit_(std::move(record));
            else
                forwarded.push_back(std::move(record));
        }
        for (const Record& each : forwarded)
            if (!write_all(to_.get(), each))
                return;
    }
    ::shutdown(to_.get(), SHUT_WR);
}

void Middle::forward_bytes() {
    std::array<std::byte, 16384> bytes{};
    for (;;) {
        const std::size_t got = read_some(to_.get(), bytes).value_or(0);
        if (got == 0 || !write_all(from_.get(), std::span(bytes).first(got)))
            break;
    }
    ::shutdown(from_.get(), SHUT_WR);
}

Hosts::Hosts(const std::string& authority_name) : authority(authority_name) {
    write_role(directory, authority, "server",
               authority.issue({"a.example", Purpose::server, {"a.example", "also-a.example"}}));
    write_role(directory, authority, "client", authority.issue({"b.example", Purpose::client}));
}

Credentials Hosts::server(std::vector<std::string> authz) const {
    Options options;
    options.creds_dir = directory.path();
    options.authz = std::move(authz);
    return Credentials::load(options, Role::server).value();
}

Credentials Hosts::client(std::string hostname) const {
    Options options;
    options.creds_dir = directory.path();
    options.hostname = std::move(hostname);
    return Credentials::load(options, Role::client).value();
}

bool can_test_kernel() {
    const bool can = kernel_has_tls();
    if (std::getenv("GC_REQUIRE_KERNEL_TLS") != nullptr) {
        EXPECT_TRUE(can);
    }
    return can;
}

const Hosts& hosts() {
    static const Hosts instance;
    return instance;
}

}  // namespace gc::tls
