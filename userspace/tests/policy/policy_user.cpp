// SPDX-License-Identifier: GPL-2.0-or-later
// For tests/policy: uses a policy like a migration, without the migration.
//
//   policy_user NIC POLICY [LINK]     uses the policy of a NIC until standard input ends
//   policy_user --peer ADDRESS PORT POLICY LINK   the same for the NIC towards a TCP peer
#include "policy/lease.h"

#include <cstdio>
#include <cstdlib>
#include <netdb.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

int fail(const gc::Error& error) {
    fmt::print(stderr, "{}\n", error.message);
    return 1;
}

int connected(const std::string& address, const std::string& port) {
    addrinfo hints{}, *to = nullptr;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(address.c_str(), port.c_str(), &hints, &to) != 0)
        return -1;
    const int fd = ::socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, to->ai_addr, to->ai_addrlen) < 0)
        std::perror("connect");
    ::freeaddrinfo(to);
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() < 2)
        return 2;
    gc::policy::PolicyLease::Request request;
    if (arguments[0] == "--peer") {
        request.peer = connected(arguments.at(1), arguments.at(2));
        request.policy = arguments.at(3);
        request.link_bytes_per_s = std::strtoull(arguments.at(4).c_str(), nullptr, 10);
    } else {
        request.device = arguments[0];
        request.policy = arguments[1];
        if (arguments.size() > 2)
            request.link_bytes_per_s = std::strtoull(arguments[2].c_str(), nullptr, 10);
    }
    auto use = gc::policy::PolicyLease::begin(request);
    if (!use)
        return fail(use.error());
    fmt::print("{} {} {}\n", use->device(), use->policy_name(),
               use->joined() ? "joined" : "attached");
    std::fflush(stdout);
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    if (const auto ended = use->end(); !ended)
        return fail(ended.error());
    return 0;
}
