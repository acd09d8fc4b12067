// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/netlink.h"

#include <cerrno>
#include <cstring>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <vector>

namespace gc::net {
namespace {

/// A dump is incomplete if the list changed meanwhile; it is then requested again.
constexpr int attempts = 20;

struct Exchange {
    std::vector<Message> messages;
    Answer answer;
    bool ended = false;
    bool interrupted = false;  ///< the list changed during the dump
};

int on_message(nl_msg* message, void* argument) {
    ::nlmsg_get(message);
    static_cast<Exchange*>(argument)->messages.emplace_back(message);
    return NL_OK;
}

int on_interrupted(nl_msg*, void* argument) {
    static_cast<Exchange*>(argument)->interrupted = true;
    return NL_OK;
}

int on_end(nl_msg*, void* argument) {
    static_cast<Exchange*>(argument)->ended = true;
    return NL_STOP;
}

/// libnl 3.7 drops the kernel's explanation of an error; it follows the error in the message.
std::string explanation(nlmsgerr* error) {
    auto* header = reinterpret_cast<nlmsghdr*>(reinterpret_cast<char*>(error) - NLMSG_HDRLEN);
    if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
        return "";
    std::size_t skip = sizeof *error;
    if ((header->nlmsg_flags & NLM_F_CAPPED) == 0)
        skip += NLMSG_ALIGN(error->msg.nlmsg_len - NLMSG_HDRLEN);
    const nlattr* text =
        ::nlmsg_find_attr(header, static_cast<int>(skip), static_cast<int>(NLMSGERR_ATTR_MSG));
    return text == nullptr ? "" : ::nla_get_string(const_cast<nlattr*>(text));
}

int on_error(sockaddr_nl*, nlmsgerr* error, void* argument) {
    auto* exchange = static_cast<Exchange*>(argument);
    exchange->answer = {-error->error, explanation(error)};
    exchange->ended = true;
    return NL_STOP;
}

/// Sends a message and collects the replies.
Result<void> run(nl_sock* socket, const Message& message, Exchange& exchange) {
    // Otherwise a repeated message keeps its first sequence number, whose reply has already come.
    ::nlmsg_hdr(message.get())->nlmsg_seq = NL_AUTO_SEQ;
    if (const int sent = ::nl_send_auto(socket, message.get()); sent < 0)
        return fail(ErrorKind::io, "rtnetlink: {}", ::nl_geterror(sent));
    const std::unique_ptr<nl_cb, void (*)(nl_cb*)> callbacks(::nl_cb_alloc(NL_CB_DEFAULT),
                                                             ::nl_cb_put);
    if (!callbacks)
        return fail(ErrorKind::io, "rtnetlink: no memory for callbacks");
    ::nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, &exchange);
    ::nl_cb_set(callbacks.get(), NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, &exchange);
    ::nl_cb_set(callbacks.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_end, &exchange);
    ::nl_cb_set(callbacks.get(), NL_CB_ACK, NL_CB_CUSTOM, on_end, &exchange);
    ::nl_cb_err(callbacks.get(), NL_CB_CUSTOM, on_error, &exchange);
    while (!exchange.ended)
        if (const int got = ::nl_recvmsgs(socket, callbacks.get()); got < 0 && !exchange.ended)
            return fail(ErrorKind::io, "rtnetlink: {}", ::nl_geterror(got));
    return {};
}

}  // namespace

Result<void> Answer::done(std::string_view what) const {
    if (error == 0)
        return {};
    return fail(ErrorKind::io, "{}: {}{}{}", what, std::strerror(error), text.empty() ? "" : ": ",
                text);
}

Result<Netlink> Netlink::open() {
    Netlink made(::nl_socket_alloc());
    if (!made.socket_)
        return fail(ErrorKind::io, "rtnetlink: no memory for a socket");
    if (const int error = ::nl_connect(made.socket_.get(), NETLINK_ROUTE); error < 0)
        return fail(ErrorKind::io, "rtnetlink: {}", ::nl_geterror(error));
    const int fd = ::nl_socket_get_fd(made.socket_.get());
    const int yes = 1;
    const timeval patience{10, 0};
    if (::setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes) < 0 ||
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        return fail_errno(errno, "rtnetlink: setsockopt");
    return made;
}

Result<Answer> Netlink::request(const Message& message,
                                const std::function<void(nlmsghdr*)>& each) {
    for (int attempt = 0; attempt < attempts; ++attempt) {
        Exchange exchange;
        GC_CHECK(run(socket_.get(), message, exchange));
        if (exchange.interrupted)
            continue;
        for (const Message& got : exchange.messages)
            each(::nlmsg_hdr(got.get()));
        return exchange.answer;
    }
    return fail(ErrorKind::io, "rtnetlink: the list changed during each of {} dumps", attempts);
}

}  // namespace gc::net
