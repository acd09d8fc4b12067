// SPDX-License-Identifier: GPL-2.0-or-later
// From a real source's command line to a real guide that loads its device state. Uses TCG, with
// both paused; needs root. The guide's memory is the source's memfd, mapped privately, instead of
// the module's node.
#include "../qmp/paused_qemu.h"
#include "guide/images.h"
#include "guide/process.h"
#include "guide/quarantine.h"
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"
#include "util/whole_file.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gmock/gmock.h>
#include <sys/sysmacros.h>

namespace gc::guide {
namespace {

using ::testing::HasSubstr;

class TempDir {
  public:
    TempDir() {
        char name[] = "/var/tmp/gc-guide-test-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    ~TempDir() { std::filesystem::remove_all(path_); }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

void run(const std::string& command) {
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

struct Guide {
    GuideCommandLine line;
    std::optional<Quarantine> quarantine;
    UniqueFd scratch;
    Process process;
    std::optional<qmp::Client> qmp;
};

/// Everything that gcctl does to start a guide, without the module.
Guide start_guide(qmp::Client& source, pid_t pid) {
    Guide guide;
    GuideSubstitutes substitutes;
    const auto blocks = qmp::ram_blocks(source, pid);
    EXPECT_TRUE(blocks) << blocks.error().message;
    // The guide may not look into this process: it inherits its memory.
    constexpr int memory_number = 100;
    SpawnOptions options;
    for (const auto& block : *blocks)
        if (block.is_guest_ram()) {
            const int number = memory_number + static_cast<int>(options.inherited.size());
            substitutes.memory[block.backend] = {fmt::format("/proc/self/fd/{}", number),
                                                 block.length};
            options.inherited.push_back({block.file.get(), number});
        }
    substitutes.backing_files = backing_file_counts(source).value();
    auto line = derive_guide_command_line(process_command_line(pid).value(), substitutes);
    EXPECT_TRUE(line) << line.error().message;
    guide.line = std::move(*line);
    guide.quarantine = Quarantine::create(guide.line.taps).value();
    guide.scratch = make_scratch(64 << 20).value();

    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    options.source = pid;
    options.argv = guide.line.argv;
    options.network_namespace = guide.quarantine->network_namespace();
    options.scratch = guide.scratch.get();
    options.inherited.push_back({theirs.get(), guide.line.qmp_fd});
    for (std::size_t i = 0; i < guide.line.taps.size(); ++i)
        for (unsigned q = 0; q < guide.line.taps[i].queues; ++q)
            options.inherited.push_back({guide.quarantine->taps()[i].queues[q].get(),
                                         guide.line.taps[i].first_fd + static_cast<int>(q)});
    auto process = Process::spawn(options);
    EXPECT_TRUE(process) << process.error().message;
    guide.process = std::move(*process);
    auto client = qmp::Client::from_fd(std::move(ours), std::chrono::seconds(30), "guide");
    EXPECT_TRUE(client) << client.error().message << guide.process.output();
    if (client)
        guide.qmp = std::move(*client);
    return guide;
}

/// Saves the source's device state without its shared memory, and loads it into the guide.
void hand_over(qmp::Client& source, Guide& guide, const std::string& file) {
    ASSERT_TRUE(qmp::set_capabilities(source, {{"x-ignore-shared", true}}));
    ASSERT_TRUE(source.execute("migrate", {{"uri", "exec:cat > " + file}}));
    const auto wait = [](qmp::Client& client) {
        for (int i = 0; i < 300; ++i) {
            const auto status = qmp::query_migrate(client);
            if (!status || status->completed() || status->failed())
                return status ? status->status + status->error : status.error().message;
            ::usleep(20'000);
        }
        return std::string("still not done");
    };
    ASSERT_EQ(wait(source), "completed");
    ASSERT_TRUE(qmp::set_capabilities(*guide.qmp, {{"x-ignore-shared", true}}));
    // Its sandbox forbids "exec:".
    const UniqueFd state(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(guide.qmp->pass_fd("state", state.get()));
    ASSERT_TRUE(qmp::migrate_incoming(*guide.qmp, "fd:state"));
    EXPECT_EQ(wait(*guide.qmp), "completed") << guide.process.output();
}

/// All OFD locks on a file, from /proc/locks.
std::size_t locks_on(const std::string& file) {
    struct stat status {};
    ::stat(file.c_str(), &status);
    const auto inode =
        fmt::format("{:02x}:{:02x}:{} ", major(status.st_dev), minor(status.st_dev), status.st_ino);
    const auto locks = read_whole_file("/proc/locks").value();
    std::size_t count = 0;
    for (auto at = locks.find(inode); at != std::string::npos; at = locks.find(inode, at + 1))
        ++count;
    return count;
}

/// Overlays as QEMU names them (create_tmp_file() in block.c), in its default directory.
std::size_t temporary_overlays() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/var/tmp"))
        count += entry.path().filename().string().starts_with("vl.");
    return count;
}

struct Machine {
    const char* name;
    std::vector<std::string> arguments;
};

void PrintTo(const Machine& machine, std::ostream* out) {
    *out << machine.name;
}

class DerivedGuide : public ::testing::TestWithParam<Machine> {};

TEST_P(DerivedGuide, LoadsTheStateOfItsSource) {
    const TempDir directory;
    run("qemu-img create -q -f qcow2 " + directory.file("base.qcow2") + " 16M");
    run("qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 " + directory.file("top.qcow2"));
    run("qemu-img create -q -f raw " + directory.file("raw.img") + " 1M");
    auto arguments = GetParam().arguments;
    // The directory's random name may itself end in DIR.
    const std::string place = directory.file("");
    for (std::string& argument : arguments)
        for (auto at = argument.find("DIR/"); at != std::string::npos;
             at = argument.find("DIR/", at + place.size()))
            argument.replace(at, 4, place);
    qmp::PausedQemu qemu(arguments);
    auto source = qemu.connect();
    const auto locks_before = locks_on(directory.file("top.qcow2"));
    const auto base_locks_before = locks_on(directory.file("base.qcow2"));
    const auto files_before = temporary_overlays();

    auto guide = start_guide(source, qemu.pid());
    ASSERT_TRUE(guide.qmp);
    EXPECT_EQ(qmp::query_status(*guide.qmp)->status, "inmigrate");
    EXPECT_EQ(locks_on(directory.file("top.qcow2")), locks_before);
    EXPECT_EQ(locks_on(directory.file("base.qcow2")), base_locks_before);
    EXPECT_EQ(temporary_overlays(), files_before);

    hand_over(source, guide, directory.file("state"));
    EXPECT_FALSE(guide.process.poll_exit());
    ASSERT_TRUE(qmp::cont(*guide.qmp)) << guide.process.output();
    EXPECT_TRUE(qmp::query_status(*guide.qmp)->running);
    // The source released its locks when it saved its state; it can acquire them again while the
    // guide runs.
    EXPECT_TRUE(qmp::cont(source));
    EXPECT_EQ(locks_on(directory.file("top.qcow2")), locks_before);
    EXPECT_EQ(locks_on(directory.file("base.qcow2")), base_locks_before);
}

const std::string drives_of_libvirt[] = {
    R"({"driver":"file","filename":"DIR/base.qcow2","node-name":"n2-storage","auto-read-only":true})",
    R"({"node-name":"n2","read-only":true,"driver":"qcow2","file":"n2-storage","backing":null})",
    R"({"driver":"file","filename":"DIR/top.qcow2","node-name":"n1-storage","auto-read-only":true})",
    R"({"node-name":"n1","read-only":false,"driver":"qcow2","file":"n1-storage","backing":"n2"})"};

INSTANTIATE_TEST_SUITE_P(
    Machines, DerivedGuide,
    ::testing::Values(
        Machine{
            "q35",
            {"-machine",
             "q35,memory-backend=pc.ram,usb=off",
             "-m",
             "64",
             "-smp",
             "2",
             "-object",
             R"({"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"size":67108864})",
             "-blockdev",
             drives_of_libvirt[0],
             "-blockdev",
             drives_of_libvirt[1],
             "-blockdev",
             drives_of_libvirt[2],
             "-blockdev",
             drives_of_libvirt[3],
             "-device",
             R"({"driver":"virtio-blk-pci","drive":"n1","id":"disk0"})",
             "-drive",
             "if=none,id=cd,media=cdrom",
             "-device",
             "ide-cd,drive=cd",
             "-netdev",
             "user,id=u0,hostfwd=tcp:127.0.0.1:0-:22",
             "-device",
             "virtio-net-pci,netdev=u0",
             "-netdev",
             "dgram,id=s0,local.type=inet,local.host=127.0.0.1,local.port=0,"
             "remote.type=inet,remote.host=127.0.0.1,remote.port=9",
             "-device",
             "e1000e,netdev=s0",
             "-device",
             "VGA",
             "-device",
             "qemu-xhci",
             "-device",
             "usb-tablet",
             "-device",
             "virtio-balloon-pci",
             "-object",
             "rng-random,id=r0,filename=/dev/urandom",
             "-device",
             "virtio-rng-pci,rng=r0",
             "-chardev",
             "pty,id=c0",
             "-device",
             "isa-serial,chardev=c0",
             "-chardev",
             "socket,id=ga,path=DIR/ga.sock,server=on,wait=off",
             "-device",
             "virtio-serial-pci",
             "-device",
             "virtserialport,chardev=ga,name=org.qemu.guest_agent.0",
             "-sandbox",
             "on,obsolete=deny"}},
        Machine{"pc",
                {"-machine", "pc,memory-backend=m", "-m", "64", "-object",
                 "memory-backend-memfd,id=m,size=64M,share=on", "-hda", "DIR/top.qcow2", "-drive",
                 "if=virtio,format=raw,file=DIR/raw.img", "-nic", "user,model=e1000", "-serial",
                 "file:DIR/serial", "-vnc", "unix:DIR/vnc", "-vga", "std"}},
        Machine{"microvm",
                {"-machine", "microvm,memory-backend=a", "-m", "32", "-object",
                 "memory-backend-memfd,id=a,size=32M,share=on", "-serial", "stdio", "-drive",
                 "if=none,id=d,format=qcow2,file=DIR/top.qcow2", "-device",
                 "virtio-blk-device,drive=d"}}),
    [](const auto& machine) { return std::string(machine.param.name); });

}  // namespace
}  // namespace gc::guide
