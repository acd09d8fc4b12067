// SPDX-License-Identifier: GPL-2.0-or-later
#include "source_vm.h"

#include "qmp/migration.h"

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <random>
#include <spawn.h>
#include <sstream>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace gc::bench {
namespace {

using namespace std::chrono_literals;

constexpr auto start_timeout = 20s;

/// Writes the memory file: all pages differ, and none is zero.
Result<void> fill(const std::filesystem::path& path, std::size_t mib) {
    std::ofstream file(path, std::ios::binary);
    std::vector<std::uint64_t> chunk((std::size_t{1} << 20) / sizeof(std::uint64_t));
    std::minstd_rand random(1);
    for (std::uint64_t& word : chunk)
        word = std::uint64_t{random()} << 32 | random();
    for (std::size_t i = 0; i < mib; ++i) {
        for (std::size_t at = 0; at < chunk.size(); at += 512)
            ++chunk[at];
        file.write(reinterpret_cast<const char*>(chunk.data()), std::streamsize{1} << 20);
    }
    file.close();
    return file ? Result<void>{}
                : fail(ErrorKind::io, "cannot write {} MiB to {}", mib, path.string());
}

}  // namespace

Result<Child> Child::spawn(std::vector<std::string> argv, const std::string& output) {
    std::vector<char*> arguments;
    for (std::string& argument : argv)
        arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                       0600);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t pid = -1;
    const int error =
        ::posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return fail_errno(error, "start " + argv[0]);
    return Child(pid);
}

Child::~Child() {
    if (pid_ <= 0)
        return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

bool Child::wait(std::chrono::milliseconds timeout) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (pid_ > 0) {
        rusage usage{};
        if (::wait4(pid_, nullptr, WNOHANG, &usage) == pid_) {
            const auto in_seconds = [](const timeval& time) {
                return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
            };
            used_ = in_seconds(usage.ru_utime) + in_seconds(usage.ru_stime);
            pid_ = -1;
        } else if (std::chrono::steady_clock::now() >= deadline) {
            return false;
        } else {
            std::this_thread::sleep_for(5ms);
        }
    }
    return true;
}

double Child::cpu_seconds() const {
    if (pid_ <= 0)
        return used_;
    std::ifstream file(fmt::format("/proc/{}/stat", pid_));
    const std::string text(std::istreambuf_iterator<char>(file), {});
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skipped;
    double user = 0, system = 0;
    for (int i = 0; i < 11; ++i)
        fields >> skipped;
    fields >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::uint64_t Child::anonymous_bytes() const {
    std::ifstream file(fmt::format("/proc/{}/status", pid_));
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("RssAnon:"))
            return std::stoull(line.substr(8)) * 1024;
    return 0;
}

Result<SourceVm> SourceVm::start(const std::filesystem::path& directory, std::size_t mib) {
    const std::string ram = directory / "ram";
    const std::string socket = directory / "ours.qmp";
    const std::string other_socket = directory / "gcctl.qmp";
    GC_CHECK(fill(ram, mib));
    GC_TRY(Child process,
           Child::spawn(
               {"qemu-system-x86_64", "-accel", "tcg", "-machine", "q35,memory-backend=ram", "-m",
                fmt::format("{}M", mib), "-object",
                fmt::format("memory-backend-file,id=ram,size={}M,mem-path={},share=on", mib, ram),
                "-nodefaults", "-no-user-config", "-display", "none", "-S", "-qmp",
                fmt::format("unix:{},server=on,wait=off", socket), "-qmp",
                fmt::format("unix:{},server=on,wait=off", other_socket)},
               directory / "source.log"));
    const auto deadline = std::chrono::steady_clock::now() + start_timeout;
    while (!std::filesystem::exists(socket) || !std::filesystem::exists(other_socket)) {
        if (process.wait(10ms) || std::chrono::steady_clock::now() > deadline) {
            std::ifstream log(directory / "source.log");
            return fail(ErrorKind::io, "QEMU did not start; it said: {}",
                        std::string(std::istreambuf_iterator<char>(log), {}));
        }
    }
    GC_TRY(qmp::Client qmp, qmp::Client::connect(socket));
    // From "prelaunch" to "paused", a state from which QEMU can migrate.
    GC_CHECK(qmp::cont(qmp));
    GC_CHECK(qmp::stop(qmp));
    return SourceVm(std::move(process), std::move(qmp), other_socket);
}

}  // namespace gc::bench
