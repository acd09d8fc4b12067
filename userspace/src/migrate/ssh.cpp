// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/ssh.h"

#include "peer/security.h"
#include "util/argv.h"
#include "util/hex.h"
#include "util/poll.h"
#include "util/read_buffer.h"
#include "util/spawn_attributes.h"
#include "util/text.h"
#include "util/units.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr auto end_timeout = 5s;

/// In single quotes, for a POSIX shell.
std::string shell_quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

std::vector<std::string> ssh_command(const SshOptions& options) {
    std::vector<std::string> command;
    std::istringstream words(options.ssh);
    for (std::string word; words >> word;)
        command.push_back(word);
    command.emplace_back("-T");  // no terminal: standard input carries the key
    if (!options.target.port.empty()) {
        command.emplace_back("-p");
        command.push_back(options.target.port);
    }
    command.emplace_back("--");
    command.push_back(options.target.login);
    command.push_back(remote_command(options));
    return command;
}

struct Child {
    pid_t pid = -1;
    UniqueFd input;
    UniqueFd output;
};

Result<Child> spawn(const std::vector<std::string>& command) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "pipe");
    const UniqueFd in_read(in[0]);
    UniqueFd in_write(in[1]);
    if (::pipe2(out.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "pipe");
    UniqueFd out_read(out[0]);
    const UniqueFd out_write(out[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in_read.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out_write.get(), STDOUT_FILENO);
    const SpawnAttributes attributes;
    pid_t pid = -1;
    const int error = ::posix_spawnp(&pid, command.front().c_str(), &actions, attributes.get(),
                                     argv_of(command).data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return fail_errno(error, fmt::format("start {}", command.front()));
    return Child{pid, std::move(in_write), std::move(out_read)};
}

/// The address in the event "listening"; nullopt for other lines, such as a greeting of the login
/// shell.
std::optional<Endpoint> listening_at(std::string_view line) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_object())
        return std::nullopt;
    const auto member = [&](const char* name) {
        const auto found = event.find(name);
        return found == event.end() ? nlohmann::json() : *found;
    };
    const nlohmann::json address = member("address");
    const nlohmann::json port = member("port");
    if (member("event") != "listening" || !address.is_string() || !port.is_number_unsigned())
        return std::nullopt;
    return Endpoint{address.get<std::string>(), std::to_string(port.get<std::uint64_t>())};
}

}  // namespace

Result<SshTarget> SshTarget::parse(std::string_view text) {
    constexpr std::string_view scheme = "ssh://";
    const auto invalid = [&](std::string_view why) {
        return fail(ErrorKind::usage,
                    "invalid '{}': {} (expected e.g. ssh://root@host2/run/vm1.qmp)",
                    printable(text), why);
    };
    std::string_view rest = text.substr(scheme.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos || slash + 1 == rest.size())
        return invalid("the path of the destination QEMU's QMP socket is missing");
    SshTarget target{.login = {}, .port = {}, .qmp = std::string(rest.substr(slash))};
    rest = rest.substr(0, slash);
    const std::size_t at = rest.rfind('@');
    const std::string user(rest.substr(0, at == std::string_view::npos ? 0 : at + 1));
    rest.remove_prefix(user.size());
    const std::size_t colon = rest.rfind(':');
    const std::size_t bracket = rest.rfind(']');  // of an IPv6 address
    if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
        target.port = rest.substr(colon + 1);
        rest = rest.substr(0, colon);
        if (!parse_number(target.port, 1, UINT16_MAX))
            return invalid(fmt::format("expected a port from 1 to {}, found '{}'", UINT16_MAX,
                                       printable(target.port)));
    }
    if (rest.starts_with('[') && rest.ends_with(']'))
        rest = rest.substr(1, rest.size() - 2);
    else if (rest.find_first_of(":[]") != std::string_view::npos)
        return invalid("expected an IPv6 address in brackets");
    target.login = user + std::string(rest);
    if (rest.empty())
        return invalid("the host is missing");
    // ssh(1) would take it for an option.
    if (target.login.front() == '-' ||
        target.login.find_first_of(" \t\n'\"\\`$") != std::string::npos)
        return invalid("the host is no name or address");
    return target;
}

std::string remote_command(const SshOptions& options) {
    return fmt::format("exec {} {} --psk-stdin --json --qmp {}", shell_quoted(options.gcctl),
                       options.command, shell_quoted(options.target.qmp));
}

Result<RemoteReceive> RemoteReceive::start(const SshOptions& options, Deadline deadline) {
    GC_TRY(const tls::Key key, tls::random_key());
    GC_TRY(tls::Credentials credentials,
           tls::Credentials::one_time(std::string(peer::one_time_identity), key));
    GC_TRY(Child child, spawn(ssh_command(options)));
    RemoteReceive remote(child.pid, std::move(child.input), std::move(child.output),
                         std::move(credentials));
    const std::string line = hex(key) + '\n';
    // If ssh has ended, its output tells.
    (void)write_all(remote.input_.get(), std::as_bytes(std::span(line)));
    GC_CHECK(remote.await_listening(options.target.login, deadline));
    return remote;
}

Result<void> RemoteReceive::await_listening(const std::string& login, Deadline deadline) {
    ReadBuffer buffer;
    for (;;) {
        while (const auto line = buffer.take_line()) {
            if (auto at = listening_at(*line)) {
                listens_at_ = *std::move(at);
                return {};
            }
        }
        if (buffer.bytes().size() > (std::size_t{1} << 20))
            return fail(ErrorKind::protocol, "the login on {} prints without end", login);
        GC_TRY(const bool ready, wait_readable(output_.get(), deadline));
        if (!ready)
            return fail(ErrorKind::io, "'gcctl receive' on {} did not listen in time", login);
        GC_TRY(const std::size_t got, buffer.fill(output_.get(), 4096));
        if (got == 0)
            return fail(ErrorKind::unsupported,
                        "could not run 'gcctl receive' on {} through ssh (see above; "
                        "--remote-gcctl names the program there)",
                        login);
    }
}

RemoteReceive::RemoteReceive(RemoteReceive&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), input_(std::move(other.input_)),
      output_(std::move(other.output_)), credentials_(std::move(other.credentials_)),
      listens_at_(std::move(other.listens_at_)) {}

RemoteReceive::~RemoteReceive() {
    if (pid_ < 0)
        return;
    input_.reset();
    for (const Deadline deadline(end_timeout); !deadline.expired();) {
        if (::waitpid(pid_, nullptr, WNOHANG) != 0)
            return;
        std::this_thread::sleep_for(10ms);
    }
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
}

}  // namespace gc::migrate
