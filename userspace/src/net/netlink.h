// SPDX-License-Identifier: GPL-2.0-or-later
// Requests to rtnetlink. Errors carry the kernel's explanation.
#pragma once

#include "util/error.h"

#include <functional>
#include <memory>
#include <netlink/msg.h>
#include <netlink/socket.h>

namespace gc::net {

struct FreeMessage {
    void operator()(nl_msg* message) const { ::nlmsg_free(message); }
};
using Message = std::unique_ptr<nl_msg, FreeMessage>;

/// The outcome of a request. `error` is an errno, or 0 on success.
struct Answer {
    int error = 0;
    std::string text;  ///< the kernel's explanation; may be empty
    /// Errors: io, if the request failed. @param what what failed: "replace the qdisc of eth0"
    [[nodiscard]] Result<void> done(std::string_view what) const;
};

class Netlink {
  public:
    /// Opens a socket in this thread's network namespace.
    static Result<Netlink> open();

    /// A message of `type` that begins with a header such as tcmsg.
    template <typename Header> static Message message(int type, int flags, const Header& header) {
        Message made(::nlmsg_alloc_simple(type, flags));
        auto copy = header;
        ::nlmsg_append(made.get(), &copy, sizeof copy, NLMSG_ALIGNTO);
        return made;
    }

    /// Sends the message and waits up to 10 s for each reply. A dump whose list changed meanwhile
    /// is repeated; `each` sees the consistent one only. Errors: io, if no reply came.
    Result<Answer> request(
        const Message& message, const std::function<void(nlmsghdr*)>& each = [](nlmsghdr*) {});

  private:
    struct FreeSocket {
        void operator()(nl_sock* socket) const { ::nl_socket_free(socket); }
    };
    explicit Netlink(nl_sock* socket) : socket_(socket) {}
    std::unique_ptr<nl_sock, FreeSocket> socket_;
};

}  // namespace gc::net
