// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/client.h"

#include "qmp/event.h"
#include "qmp/reply.h"
#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

namespace gc::qmp {

using nlohmann::json;
using std::chrono::milliseconds;

namespace {

// The longest replies are memory trees and schemas of some hundred kB; anything longer is not QMP.
constexpr std::size_t max_line = 16u << 20;
constexpr std::size_t max_shown = 120;

constexpr std::string_view one_client =
    "a QMP monitor serves one client at a time: disconnect the other client, or give QEMU a second "
    "monitor (-qmp unix:PATH,server=on,wait=off)";

std::string excerpt(std::string_view text) {
    std::string shown(text.substr(0, max_shown));
    for (char& c : shown)
        if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e)
            c = '?';
    return text.size() > max_shown ? shown + "..." : shown;
}

/// sendmsg(2) without waiting. @param passed_fd sent as SCM_RIGHTS; -1: none
ssize_t send_some(int socket, std::string_view text, int passed_fd) {
    iovec part{const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (passed_fd >= 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(header), &passed_fd, sizeof(int));
    }
    return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

std::int64_t integer_at(const json& object, const char* key) {
    auto it = object.find(key);
    return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
}

}  // namespace

struct Client::Inbox {
    std::deque<Event> events;
    std::optional<json> greeting;
    std::optional<json> reply;  ///< to the command with id last_id_
};

Client::Client(UniqueFd fd, std::string name)
    : fd_(std::move(fd)), name_(std::move(name)), inbox_(std::make_unique<Inbox>()) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

bool Client::has_event() const {
    return !inbox_->events.empty();
}

std::string Version::text() const {
    auto number = fmt::format("{}.{}.{}", major, minor, micro);
    return package.empty() ? number : fmt::format("{} ({})", number, package);
}

namespace {

Result<UniqueFd> connect_to(const std::string& unix_path) {
    // Do not wait for room in the backlog: it is full because the monitor serves another client.
    auto fd = unix_connect(unix_path, milliseconds(0));
    if (!fd && fd.error().error_number == EAGAIN)
        return fail(ErrorKind::io, "QMP socket {}: its backlog is full; {}", unix_path, one_client);
    if (!fd)
        return wrap(std::move(fd).error(), "QMP socket");
    return fd;
}

}  // namespace

Result<Client> Client::connect(const std::string& unix_path, milliseconds timeout) {
    GC_TRY(UniqueFd fd, connect_to(unix_path));
    return from_fd(std::move(fd), timeout, "QMP socket " + unix_path);
}

Result<Client> Client::connect_out_of_band(const std::string& unix_path, milliseconds timeout) {
    GC_TRY(UniqueFd fd, connect_to(unix_path));
    Client client(std::move(fd), "QMP socket " + unix_path);
    GC_CHECK(client.negotiate(timeout, true));
    return client;
}

Result<Client> Client::from_fd(UniqueFd fd, milliseconds timeout, std::string name) {
    Client client(std::move(fd), std::move(name));
    GC_CHECK(client.negotiate(timeout));
    return client;
}

Result<Client> Client::over(Carrier carrier, pid_t qemu, std::string name) {
    Client client(UniqueFd(), std::move(name));
    client.carrier_ = std::move(carrier);
    client.qemu_ = qemu;
    GC_TRY(json version, client.execute("query-version"));
    GC_CHECK(client.accept_greeting({{"QMP", {{"version", std::move(version)}}}}));
    return client;
}

Result<void> Client::negotiate(milliseconds timeout, bool out_of_band) {
    const Deadline deadline(timeout);
    while (!inbox_->greeting) {
        GC_TRY(const bool progress, pump(deadline));
        if (!progress && !inbox_->greeting)
            return broken(fail(ErrorKind::io, "{}: no QMP greeting within {} ms; {}", name_,
                               timeout.count(), one_client));
    }
    GC_CHECK(accept_greeting(*inbox_->greeting));
    const json wanted = out_of_band ? json{{"enable", {"oob"}}} : json();
    GC_CHECK(execute("qmp_capabilities", wanted, std::max(deadline.left(), milliseconds(1))));
    return {};
}

Result<void> Client::accept_greeting(const json& message) {
    const json& qmp = message["QMP"];
    if (!qmp.is_object() || !qmp.contains("version") || !qmp["version"].is_object() ||
        !qmp["version"].contains("qemu") || !qmp["version"]["qemu"].is_object())
        return broken(fail(ErrorKind::protocol,
                           "{}: expected a greeting with QEMU's version, found {}", name_,
                           excerpt(message.dump())));
    const json& numbers = qmp["version"]["qemu"];
    version_.major = static_cast<int>(integer_at(numbers, "major"));
    version_.minor = static_cast<int>(integer_at(numbers, "minor"));
    version_.micro = static_cast<int>(integer_at(numbers, "micro"));
    version_.package = text_at(qmp["version"], "package");
    return {};
}

Result<json> Client::execute(std::string_view command, json arguments, milliseconds timeout) {
    return execute_with(command, std::move(arguments), timeout, -1);
}

Result<void> Client::pass_fd(std::string_view name, int fd) {
    GC_CHECK(execute_with("getfd", {{"fdname", name}}, default_timeout, fd));
    return {};
}

Result<json> Client::execute_with(std::string_view command, json arguments, Deadline deadline,
                                  int passed_fd, std::string_view kind) {
    if (carrier_ && passed_fd >= 0)
        return fail(ErrorKind::unsupported, "{}: it cannot be given a descriptor", name_);
    if (carrier_)
        return execute_carried(command, std::move(arguments));
    GC_CHECK(send_command(kind, command, std::move(arguments), deadline, passed_fd));
    return await_reply(command, deadline);
}

Result<void> Client::send_command(std::string_view kind, std::string_view command, json arguments,
                                  Deadline deadline, int passed_fd) {
    if (broken_)
        return Unexpected(*broken_);
    inbox_->reply.reset();
    json message{{kind, command}, {"id", ++last_id_}};
    if (!arguments.is_null())
        message["arguments"] = std::move(arguments);
    // Replace invalid UTF-8, which file names may contain, with U+FFFD instead of throwing.
    return send(message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n", deadline,
                passed_fd);
}

Result<void> Client::post(std::string_view command) {
    if (carrier_)
        return fail(ErrorKind::unsupported, "{}: its replies are always waited for", name_);
    return send_command("execute", command, nullptr, default_timeout, -1);
}

Result<json> Client::execute(std::string_view command) {
    return execute(command, nullptr);
}

Result<json> Client::execute_out_of_band(std::string_view command, json arguments) {
    return execute_with(command, std::move(arguments), default_timeout, -1, "exec-oob");
}

Result<json> Client::await_reply(std::string_view command, Deadline deadline) {
    while (!inbox_->reply) {
        GC_TRY(const bool progress, pump(deadline));
        if (!progress && !inbox_->reply)
            return fail(ErrorKind::io, "{}: no reply to '{}' in time", name_, command);
    }
    json reply = std::move(*inbox_->reply);
    inbox_->reply.reset();
    return value_of(command, std::move(reply));
}

Result<json> Client::execute_carried(std::string_view command, json arguments) {
    json message{{"execute", command}};
    if (!arguments.is_null())
        message["arguments"] = std::move(arguments);
    const auto text = carrier_(message.dump(-1, ' ', false, json::error_handler_t::replace));
    if (!text)
        return wrap(text.error(), name_);
    json reply = json::parse(*text, nullptr, false);
    if (!reply.is_object() || (!reply.contains("return") && !reply.contains("error")))
        return fail(ErrorKind::protocol, "{}: expected a reply to '{}', found '{}'", name_, command,
                    excerpt(*text));
    return value_of(command, std::move(reply));
}

Result<json> Client::value_of(std::string_view command, json reply) const {
    if (auto it = reply.find("return"); it != reply.end())
        return std::move(*it);
    const json& error = reply["error"];
    return fail(ErrorKind::unsupported, "{}: QEMU refused '{}': {}: {}", name_, command,
                text_at(error, "class"), text_at(error, "desc"));
}

Result<std::string> Client::hmp(std::string_view line) {
    GC_TRY(json text, execute("human-monitor-command", {{"command-line", line}}));
    if (!text.is_string())
        return fail(ErrorKind::protocol, "{}: expected text from '{}', found {}", name_, line,
                    excerpt(text.dump()));
    return text.get<std::string>();
}

Result<std::optional<Event>> Client::next_event(milliseconds timeout) {
    const Deadline deadline(timeout);
    if (carrier_)
        return std::nullopt;
    while (inbox_->events.empty()) {
        if (broken_)
            return Unexpected(*broken_);
        GC_TRY(const bool progress, pump(deadline));
        if (!progress && inbox_->events.empty())
            return std::nullopt;
    }
    std::optional<Event> event(std::move(inbox_->events.front()));
    inbox_->events.pop_front();
    return event;
}

Result<pid_t> Client::peer_pid() const {
    if (carrier_)
        return qemu_;
    ucred credentials{};
    socklen_t length = sizeof(credentials);
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return fail_errno(errno, fmt::format("{}: SO_PEERCRED", name_));
    if (credentials.pid == 0)
        return fail(ErrorKind::unsupported,
                    "{}: QEMU runs in another PID namespace; run gcctl in the host's", name_);
    return credentials.pid;
}

/// @return false if the deadline passed first
Result<bool> Client::wait(short events, Deadline deadline) {
    const auto ready = wait_for_events(fd_.get(), events, deadline);
    if (!ready)
        return broken(wrap(ready.error(), name_));
    return *ready;
}

/// @param passed_fd travels with the first byte (SCM_RIGHTS); -1: none
Result<void> Client::send(std::string_view text, Deadline deadline, int passed_fd) {
    bool started = false;
    while (!text.empty()) {
        const ssize_t sent = send_some(fd_.get(), text, started ? -1 : passed_fd);
        if (sent >= 0) {
            text.remove_prefix(static_cast<std::size_t>(sent));
            started = true;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return broken(fail_errno(errno, fmt::format("{}: send", name_)));
        GC_TRY(const bool ready, wait(POLLOUT, deadline));
        if (ready)
            continue;
        auto late = fail(ErrorKind::io, "{}: QEMU does not read from its monitor", name_);
        // After half a command, QEMU would take the next one for the rest of it.
        return started ? broken(std::move(late)) : std::move(late);
    }
    return {};
}

/// Reads available data, waiting for it if necessary, and handles each complete line.
/// @return false if the deadline passed and nothing was read
Result<bool> Client::pump(Deadline deadline) {
    if (broken_)
        return Unexpected(*broken_);
    GC_TRY(const bool ready, wait(POLLIN, deadline));
    if (!ready)
        return false;
    const auto got = buffer_.fill(fd_.get());
    if (!got)
        return broken(wrap(got.error(), name_));
    if (*got == 0)
        return broken(fail(ErrorKind::io, "{}: QEMU closed the connection{}", name_,
                           buffer_.bytes().empty() ? "" : " in the middle of a message"));
    while (const auto line = buffer_.take_line())
        GC_CHECK(dispatch(*line));
    if (buffer_.bytes().size() > max_line)
        return broken(fail(ErrorKind::protocol, "{}: expected lines of at most {} MiB", name_,
                           max_line >> 20));
    return true;
}

Result<void> Client::dispatch(std::string_view line) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
        return {};
    json message = json::parse(line, nullptr, false);
    if (!message.is_object())
        return broken(fail(ErrorKind::protocol,
                           "{}: expected one JSON object per line, found '{}'; is it a QMP monitor "
                           "(not -monitor, not -qmp-pretty)?",
                           name_, excerpt(line)));
    if (message.contains("event"))
        return take_event(std::move(message));
    if (message.contains("QMP")) {
        inbox_->greeting = std::move(message);
        return {};
    }
    const bool is_error = message.contains("error") && message["error"].is_object();
    if (!is_error && !message.contains("return"))
        return broken(fail(ErrorKind::protocol,
                           "{}: expected a greeting, an event or a reply, found {}", name_,
                           excerpt(line)));
    auto id = message.find("id");
    // QEMU omits the id only if it could not parse the command (callers of qmp_error_response in
    // monitor/qmp.c, 7.2). Any other id belongs to a command whose reply is not waited for any
    // more.
    if (id == message.end() ? is_error : (id->is_number_unsigned() && *id == last_id_))
        inbox_->reply = std::move(message);
    return {};
}

Result<void> Client::take_event(json message) {
    Event event;
    event.arrived = std::chrono::steady_clock::now();
    event.name = text_at(message, "event");
    if (event.name.empty())
        return broken(fail(ErrorKind::protocol, "{}: expected an event with a name, found {}",
                           name_, excerpt(message.dump())));
    if (auto data = message.find("data"); data != message.end() && data->is_object())
        event.data = std::move(*data);
    else
        event.data = json::object();
    if (auto stamp = message.find("timestamp"); stamp != message.end() && stamp->is_object())
        event.emitted = std::chrono::system_clock::time_point(
            std::chrono::seconds(integer_at(*stamp, "seconds")) +
            std::chrono::microseconds(integer_at(*stamp, "microseconds")));
    inbox_->events.push_back(std::move(event));
    return {};
}

/// Remembers an error that leaves the connection in an unknown state.
Unexpected Client::broken(Unexpected error) {
    broken_ = error.value();
    return error;
}

}  // namespace gc::qmp
