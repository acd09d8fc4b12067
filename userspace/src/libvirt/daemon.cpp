// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/daemon.h"

#include "libvirt/xml.h"
#include "util/socket.h"
#include "util/text.h"
#include "util/whole_file.h"

#include <filesystem>

namespace gc::libvirt {
namespace {

using namespace std::chrono_literals;

/// What has libvirt's QEMUs: one of its modular daemons, or the one for everything.
struct Daemon {
    std::string_view name;
    std::string_view socket;
};
constexpr Daemon modular{"virtqemud", "virtqemud-sock"};
constexpr Daemon monolithic{"libvirtd", "libvirt-sock"};

std::string socket_of(const Daemon& daemon, std::string_view directory) {
    return fmt::format("{}/{}", directory, daemon.socket);
}

const Daemon& daemon_of(std::string_view directory) {
    std::error_code error;
    return std::filesystem::exists(socket_of(modular, directory), error) ? modular : monolithic;
}

/// With its sockets: systemd would start it upon the first connection.
std::string stop_daemon_line(const Daemon& daemon) {
    return fmt::format("systemctl stop '{}*'", daemon.name);
}

Result<pugi::xml_document> load(const std::string& path) {
    GC_TRY(const std::string text, read_whole_file(path));
    pugi::xml_document document = parse_xml(text);
    if (!document.child("domstatus"))
        return fail(ErrorKind::protocol, "{}: expected XML with the element <domstatus>", path);
    return document;
}

bool is_named(const pugi::xml_document& status, std::string_view named) {
    const pugi::xml_node domain = status.child("domstatus").child("domain");
    return !named.empty() &&
           (named == domain.child_value("name") || named == domain.child_value("uuid"));
}

}  // namespace

std::vector<std::string> take_back_lines(const std::string& domain, const std::string& verdict,
                                         std::string_view directory) {
    std::vector<std::string> words{"gcctl", "take-back", "--domain", domain};
    if (!verdict.empty())
        words.insert(words.end(), {"--verdict", verdict});
    return {stop_daemon_line(daemon_of(directory)), shell_line(words),
            start_daemon_line(directory)};
}

std::string start_daemon_line(std::string_view directory) {
    return fmt::format("systemctl start {}", daemon_of(directory).name);
}

Result<void> check_no_daemon(std::string_view directory) {
    for (const Daemon& daemon : {modular, monolithic})
        if (const std::string socket = socket_of(daemon, directory); unix_connect(socket, 1s))
            return fail(ErrorKind::unsupported,
                        "{} answers on {}, and has QEMU's monitor; stop it first, its VMs run on: "
                        "{}",
                        daemon.name, socket, stop_daemon_line(daemon));
    return {};
}

Result<DomainStatus> DomainStatus::find(std::string_view named, std::string_view directory) {
    const std::string files = fmt::format("{}/qemu", directory);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(files, error)) {
        if (entry.path().extension() != ".xml")
            continue;
        const auto status = load(entry.path());
        if (!status || !is_named(*status, named))
            continue;
        const pugi::xml_node monitor = status->child("domstatus").child("monitor");
        std::string socket = monitor.attribute("path").value();
        if (socket.empty() || std::string_view(monitor.attribute("type").value()) != "unix")
            return fail(ErrorKind::protocol,
                        "{}: expected a <monitor> with the path of a unix socket",
                        entry.path().string());
        return DomainStatus(entry.path(), entry.path().stem(), std::move(socket));
    }
    return fail(ErrorKind::unsupported,
                "no domain '{}' that has a QEMU in {}{}{}; run gcctl as root", named, files,
                error ? ": " : "", error ? error.message() : "");
}

Result<void> DomainStatus::remove_migration() const {
    GC_TRY(pugi::xml_document document, load(path_));
    pugi::xml_node status = document.child("domstatus");
    if (!status.remove_child(status.find_child_by_attribute("job", "async", "migration out")))
        return {};
    return write_whole_file(path_, text_of(document));
}

}  // namespace gc::libvirt
