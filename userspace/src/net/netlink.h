// SPDX-License-Identifier: GPL-2.0-or-later
// Requests to rtnetlink, with the kernel's own words when it refuses one.
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

/// What came of a request. `error` is an errno, 0 if it was done.
struct Answer {
    int error = 0;
    std::string text;  ///< the kernel's explanation; may be empty
    /// Errors: io, unless it was done. @param what "replace the qdisc of eth0"
    [[nodiscard]] Result<void> done(std::string_view what) const;
};

class Netlink {
  public:
    /// Of this thread's network namespace.
    static Result<Netlink> open();

    /// A message of `type` that begins with a header such as tcmsg.
    template <typename Header> static Message message(int type, int flags, const Header& header) {
        Message made(::nlmsg_alloc_simple(type, flags));
        auto copy = header;
        ::nlmsg_append(made.get(), &copy, sizeof copy, NLMSG_ALIGNTO);
        return made;
    }

    /// Sends it and waits for its end, at most some seconds. A list that changed meanwhile is asked
    /// for again; `each` sees one that did not. Errors: io, if no answer came at all.
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
